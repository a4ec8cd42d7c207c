import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from rd4ad.web.explorer import run_cache
from rd4ad.web.explorer.screens import pro_auditor
from rd4ad.web.explorer.screens.pro_auditor import read_npz

MAPS = np.random.default_rng(0).random((3, 8, 8))
MASKS = np.zeros((3, 8, 8), np.uint8)
MASKS[0, 2:4, 2:4] = 255


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_own_maps_get_every_definition():
    found = run_cache.audited(read_npz(npz(maps=MAPS, masks=MASKS)))
    assert set(found.metrics) == {
        "MVTec, limit 0.3", "MVTec, limit 0.05", "no limit (1.0)", "released code, per image",
    }  # fmt: skip
    assert set(found.curves) == {"whole category", "mean of each image's own"}


def test_masks_without_a_defect_have_no_metric_and_no_curve():
    found = run_cache.audited(read_npz(npz(maps=MAPS, masks=MASKS * 0)))
    assert np.isnan(list(found.metrics.values())).all()
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
    with pytest.raises(ValueError, match="Python objects"):
        read_npz(npz(maps=np.array([{"a": 1}]), masks=MASKS))


def archive(**members: bytes) -> bytes:
    """A ZIP of raw members, as an attacker would write it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            packed.writestr(f"{name}.npy", content)
    return file.getvalue()


def header(shape: tuple[int, ...], descr: str = "<f8", version: int = 1) -> bytes:
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text


ATTACKS = {
    "a header of 10^9 elements": archive(maps=header((10**9,)) + bytes(64), masks=header((1,))),
    "a header of 10^30 elements": archive(maps=header((10**10,) * 3), masks=header((1,))),
    "a negative size": archive(maps=header((-1, 8, 8)) + bytes(64), masks=header((1,))),
    "a bomb": archive(maps=header((3, 1024, 1024)) + bytes(300 * 2**20), masks=header((1,))),
    "a pickle as array": archive(maps=b"\x80\x04N.", masks=header((1,))),
    "objects": archive(maps=header((1,), "|O") + b"\x80\x04N.", masks=header((1,))),
    "a version to come": archive(maps=header((1,), version=9) + bytes(8), masks=header((1,))),
    "code for a header": archive(
        maps=b"\x93NUMPY\x01\x00\x20\x00__import__('os').system('false')", masks=header((1,))
    ),
    "a header without end": archive(maps=b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 65535),
    "fields": archive(maps=header((1,), "V8") + bytes(8), masks=header((1,), "V8") + bytes(8)),
}


@pytest.mark.parametrize("content", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_is_an_error_that_takes_no_memory(content):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"maps|NPZ"):
            read_npz(content)
        assert tracemalloc.get_traced_memory()[1] < 50 * 2**20
    finally:
        tracemalloc.stop()


def test_arrays_too_large_when_unpacked_are_refused(monkeypatch):
    monkeypatch.setattr(pro_auditor, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="at most"):
        read_npz(npz(maps=MAPS, masks=MASKS))
