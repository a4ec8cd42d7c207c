import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from rd4ad.checkpoint import SCHEMA, read_checkpoint, replace_file


def test_floats_of_half_precision_are_widened_and_counters_stay(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"weight": np.array([0.1], np.float16), "counter": np.array(7)}
    save_file(tensors, path, {"rd4ad": json.dumps({"schema": SCHEMA})})
    header, found = read_checkpoint(path)
    assert header == {"schema": SCHEMA}
    assert found["weight"].dtype == np.float32
    assert found["weight"][0] == np.float16(0.1)
    assert found["counter"] == 7


def test_what_is_no_checkpoint_of_ours_is_refused_by_name(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*a\.safetensors"):
        read_checkpoint(path)
    for content in (b"", b"PK\x03\x04 a pickle"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.safetensors is not a whole .*from_official"):
            read_checkpoint(path)
    save_file({"a": np.zeros(1)}, path)
    with pytest.raises(ValueError, match="no rd4ad header"):
        read_checkpoint(path)
    save_file({"a": np.zeros(1)}, path, {"rd4ad": json.dumps({"schema": SCHEMA + 1})})
    with pytest.raises(ValueError, match="update rd4ad"):
        read_checkpoint(path)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "folder/a.bin"
    replace_file(path, lambda beside: beside.write_bytes(b"old"))

    def fill_the_disk(beside):
        beside.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replace_file(path, fill_the_disk)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [b"old"]
