import json

import numpy as np
import pytest
from safetensors import SafetensorError
from safetensors.numpy import save_file

from rd4ad.inference.checkpoint import SCHEMA, read_checkpoint, replace_file

HEADER = {
    "schema": SCHEMA, "method": "reverse_distillation", "backbone": "compact", "layers": [1, 2, 3],
    "settings": {}, "size_px": 64, "scoring": {}, "teacher_file": {}, "calibration": None,
    "config": {},
}  # fmt: skip


def test_floats_of_half_precision_are_widened_and_counters_stay(tmp_path):
    path = tmp_path / "a.safetensors"
    tensors = {"weight": np.array([0.1], np.float16), "counter": np.array(7)}
    save_file(tensors, path, {"rd4ad": json.dumps(HEADER)})
    header, found = read_checkpoint(path)
    assert header == HEADER
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


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        "[1, 2]",
        json.dumps(HEADER | {"schema": "two"}),
        json.dumps(HEADER | {"size_px": 100}),
        json.dumps(HEADER | {"scoring": {"layers": [4]}}),
        json.dumps({key: value for key, value in HEADER.items() if key != "backbone"}),
    ],
)
def test_a_damaged_header_is_refused_by_name(tmp_path, text):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.zeros(1)}, path, {"rd4ad": text})
    with pytest.raises(ValueError, match=r"a\.safetensors has a damaged header"):
        read_checkpoint(path)


@pytest.mark.parametrize("error", [RuntimeError("inline_container.cc"), SafetensorError("IO")])
def test_a_write_that_torch_or_safetensors_breaks_off_is_an_os_error(tmp_path, error):
    def fail(beside):
        beside.write_bytes(b"half")
        raise error

    with pytest.raises(OSError, match=r"a\.bin could not be written whole"):
        replace_file(tmp_path / "a.bin", fail)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "folder/a.bin"
    replace_file(path, lambda beside: beside.write_bytes(b"old"))

    def fill_the_disk(beside):
        beside.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        replace_file(path, fill_the_disk)
    assert [file.read_bytes() for file in path.parent.iterdir()] == [b"old"]
