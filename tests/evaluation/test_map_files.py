"""ZIP files of maps from strangers: what is read of them, and what is refused before it costs."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import tifffile
from PIL import Image

from rd4ad.data.folders import DatasetError
from rd4ad.data.images import read_mask
from rd4ad.evaluation.map_files import MAX_MAP_BYTES, MapArchive, decoded, resized

NAMES = ["test/bent/000.png", "test/good/000.png"]


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff(array, **options):
    file = io.BytesIO()
    tifffile.imwrite(file, array, **options)
    return file.getvalue()


def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def packed(entries):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


ONE, TWO = np.float32([[0, 1], [2, 3]]), np.float32([[4, 5], [6, 7]])


@pytest.mark.parametrize("below", ["", "maps/", "a/b/c/", "../../", "/etc/", "C:\\x\\/"])
def test_maps_are_found_below_any_folder_and_nothing_is_written(below, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = packed({f"{below}bent/000.npy": npy(ONE), f"{below}good/000.tiff": tiff(TWO)})
    found = list(MapArchive.open(content).read_maps(NAMES))
    np.testing.assert_array_equal(found, [ONE, TWO])
    assert list(tmp_path.rglob("*")) == []


def test_masks_are_those_below_ground_truth(tmp_path):
    mask = np.zeros((8, 8), np.uint8)
    mask[:4] = 255
    content = packed(
        {
            "maps/bent/000.npy": npy(ONE),
            "maps/good/000.npy": npy(TWO),
            "ground_truth/bent/000_mask.png": png(mask),
            "__MACOSX/maps/bent/000.npy": b"resource fork",
            "readme.txt": b"",
        }
    )
    archive = MapArchive.open(content)
    np.testing.assert_array_equal(list(archive.read_maps(NAMES)), [ONE, TWO])
    masks = archive.read_masks(NAMES, 4)
    assert masks.dtype == bool
    assert masks.sum((1, 2)).tolist() == [8, 0]
    assert MapArchive.open(packed({"bent/000.npy": npy(ONE)})).read_masks(NAMES, 4) is None


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({}, "holds no map"),
        ({"notes.txt": b"x"}, "holds no map"),
        ({"a/bent/000.npy": npy(ONE), "b/bent/000.tiff": tiff(ONE)}, "two maps of bent/000"),
        ({"bent/000.npy": npy(ONE)}, "1 of 2 test images have no map, such as test/good/000.png"),
        ({"bent/001.npy": npy(ONE)}, "2 of 2 test images have no map"),
        ({"bent/000.npy": b"", "good/000.npy": npy(TWO)}, "000.npy is not a readable map"),
        ({"bent/000.npy": npy(ONE)[:-3], "good/000.npy": npy(TWO)}, "not a readable map"),
        ({"bent/000.tiff": b"II*\0junk", "good/000.npy": npy(TWO)}, "not a readable map"),
        ({"bent/000.png": b"\x89PNG\r\n\x1a\n", "good/000.npy": npy(TWO)}, "not a readable map"),
        ({"bent/000.npy": npy(ONE * np.nan), "good/000.npy": npy(TWO)}, "NaN or infinity"),
        ({"bent/000.npy": npy(np.array([[1j]])), "good/000.npy": npy(TWO)}, "expected a 2-D map"),
        ({"bent/000.npy": npy(np.ones((2, 2, 3))), "good/000.npy": npy(TWO)}, "expected a 2-D"),
        ({"bent/000.png": png(np.zeros((2, 2, 3), np.uint8)), "good/000.npy": npy(TWO)}, "2-D"),
    ],
)
def test_what_is_wrong_is_said(entries, said):
    with pytest.raises(DatasetError, match=said):
        list(MapArchive.open(packed(entries)).read_maps(NAMES))


def pickled():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    return file.getvalue()


def promising(shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()


HUGE = {
    "a.npy": promising((10**6, 10**6)),
    "b.npy": pickled(),
    "c.npy": npy(np.zeros((5000, 5000), np.float32)),
    "d.png": png(np.zeros((5000, 5000), np.uint8)),
    "e.tiff": tiff(np.zeros((5000, 5000), np.float32), compression="zlib"),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_promises_too_much_is_refused_before_it_takes_memory(name):
    tracemalloc.start()
    try:
        with pytest.raises(DatasetError, match="is not a readable map"):
            decoded(HUGE[name], name)
        assert tracemalloc.get_traced_memory()[1] < MAX_MAP_BYTES / 2
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_refused_by_its_stated_size_and_a_lying_one_by_what_comes():
    bomb = packed({"bent/000.npy": bytes(MAX_MAP_BYTES + 1), "good/000.npy": npy(TWO)})
    with pytest.raises(DatasetError, match="takes more than 64 MiB"):
        list(MapArchive.open(bomb).read_maps(NAMES))
    lying = bomb.replace(struct.pack("<L", MAX_MAP_BYTES + 1), struct.pack("<L", 100))
    with pytest.raises(DatasetError, match=r"cannot be read|not a readable map"):
        list(MapArchive.open(lying).read_maps(NAMES))


@pytest.mark.parametrize("content", [b"", b"PK", b"no zip", packed({"a/b.npy": b"x"})[:-9]])
def test_what_is_no_zip_file_is_refused(content):
    with pytest.raises(DatasetError):
        MapArchive.open(content)


def test_an_encrypted_entry_is_refused():
    content = bytearray(packed({"bent/000.npy": npy(ONE), "good/000.npy": npy(TWO)}))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    with pytest.raises(DatasetError, match="cannot be read"):
        list(MapArchive.open(bytes(content)).read_maps(NAMES))


def test_a_resized_map_keeps_its_mean():
    one = np.random.default_rng(0).random((12, 8)).astype(np.float32)
    assert resized(one, 4).shape == (4, 4)
    assert resized(one, 4).mean() == pytest.approx(one.mean(), rel=1e-5)
    assert resized(one[:8], 8) is not None


def test_masks_are_resized_as_a_datasets_own_and_one_that_lacks_is_an_error(tmp_path):
    mask = np.zeros((50, 50), np.uint8)
    mask[11:30, 7:33] = 255
    content = {"maps/bent/000.npy": npy(ONE), "ground_truth/bent/000_mask.png": png(mask)}
    archive = MapArchive.open(packed(content))
    Image.fromarray(mask).save(tmp_path / "mask.png")
    found = archive.read_masks(NAMES, 32)
    np.testing.assert_array_equal(found[0], read_mask(tmp_path / "mask.png", 32))
    with pytest.raises(DatasetError, match=r"test/bent/001\.png has no mask, and others"):
        archive.read_masks([*NAMES, "test/bent/001.png"], 32)
