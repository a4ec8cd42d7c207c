import io

import numpy as np
import pytest

from rd4ad.web import audit, contents
from rd4ad.web.audit import read_npz

MAPS = np.random.default_rng(0).random((3, 8, 8))
MASKS = np.zeros((3, 8, 8), np.uint8)
MASKS[0, 2:4, 2:4] = 255


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_own_maps_get_every_definition():
    found = contents.audited(read_npz(npz(maps=MAPS, masks=MASKS)))
    assert set(found.figures) == {
        "MVTec, limit 0.3", "MVTec, limit 0.05", "no limit (1.0)", "released code, per image",
    }  # fmt: skip
    assert set(found.curves) == {"whole category", "mean of each image's own"}


def test_masks_without_a_defect_have_no_figure_and_no_curve():
    found = contents.audited(read_npz(npz(maps=MAPS, masks=MASKS * 0)))
    assert np.isnan(list(found.figures.values())).all()
    assert found.curves == {}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nothing", "not an NPZ file"),
        (npz(maps=MAPS), "lacks the array 'masks'"),
        (npz(maps=MAPS[0], masks=MASKS[0]), r"expected numbers \(N, H, W\)"),
        (npz(maps=MAPS, masks=MASKS[:2]), "as the maps"),
        (npz(maps=MAPS, masks=MAPS), "whole numbers or booleans"),
        (npz(maps=np.where(MAPS > 0.9, np.nan, MAPS), masks=MASKS), "NaN or infinity"),
        (npz(maps=MAPS, masks=np.arange(192).reshape(3, 8, 8)), "more than two values"),
        (npz(maps=np.array([[["a"]]]), masks=MASKS), "expected numbers"),
        (npz(maps=MAPS, masks=MASKS)[:-40], "NPZ file"),
    ],
)
def test_bad_files_are_refused_with_what_was_expected(content, said):
    with pytest.raises(ValueError, match=said):
        read_npz(content)


def test_code_in_a_file_is_not_run():
    with pytest.raises(ValueError, match="allow_pickle"):
        read_npz(npz(maps=np.array([{"a": 1}]), masks=MASKS))


def test_arrays_too_large_when_unpacked_are_refused(monkeypatch):
    monkeypatch.setattr(audit, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="at most"):
        read_npz(npz(maps=MAPS, masks=MASKS))
