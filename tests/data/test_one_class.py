import gzip
import io
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from rd4ad.data.folders import DatasetError
from rd4ad.data.one_class import NOVELTY_SETS, images_by_name, read_idx, read_split

FASHION, JPEG = NOVELTY_SETS["fashion_mnist"], NOVELTY_SETS["cifar10_jpeg"]


@pytest.fixture
def write_split(write_idx):
    def write(data, images, labels):
        write_idx(data / FASHION.home / "t10k-images-idx3-ubyte", images)
        write_idx(data / FASHION.home / "t10k-labels-idx1-ubyte", labels)

    return write


@pytest.fixture
def three(tmp_path, write_split):
    """Three test images of FashionMNIST: two trousers, a bag."""
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    write_split(tmp_path, images, np.array([1, 8, 1], np.uint8))
    return tmp_path


def test_a_gzipped_file_is_read_as_the_plain_one(three):
    plain = read_split(three, FASHION, "test", 32)
    for path in sorted((three / FASHION.home).iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    packed = read_split(three, FASHION, "test", 32)
    assert packed.names == plain.names
    np.testing.assert_array_equal(packed.images, plain.images)


def test_gray_images_are_resized_as_pillow_does_and_repeated(three):
    found = read_split(three, FASHION, "test", 32, only="bag")
    gray = images_by_name(three, FASHION)[found.names[0]]
    expected = np.asarray(Image.fromarray(gray).resize((32, 32), Image.Resampling.BILINEAR))
    assert found.classes.tolist() == ["bag"]
    for channel in range(3):
        np.testing.assert_array_equal(found.images[0, ..., channel], expected)


def test_another_order_holds_the_same_images_under_the_same_names(three, write_split):
    before = images_by_name(three, FASHION)
    images, labels = (
        read_idx(three / FASHION.home / f"t10k-{kind}-ubyte")[::-1].copy()
        for kind in ("images-idx3", "labels-idx1")
    )
    write_split(three, images, labels)
    after = images_by_name(three, FASHION)
    assert list(after) == list(before)[::-1]
    for name, image in before.items():
        np.testing.assert_array_equal(after[name], image)


def test_a_missing_file_is_named_with_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match=r"train-images-idx3-ubyte.*FashionMNIST.*--download"):
        read_split(tmp_path, FASHION, "train", 32)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: content[:-1], "expected 2352 bytes"),
        (lambda content: content + b"\0", "found 2353"),
        (lambda content: b"GIF8" + content, "no IDX file"),
        (lambda content: content[:9], "no IDX file"),
        (lambda content: b"", "no IDX file"),
    ],
)
def test_a_damaged_file_is_named(three, damage, said):
    path = three / FASHION.home / "t10k-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=f"t10k-images.*{said}"):
        read_split(three, FASHION, "test", 32)


def test_a_broken_gzip_is_named(three):
    path = three / FASHION.home / "t10k-labels-idx1-ubyte"
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-9])
    path.unlink()
    with pytest.raises(DatasetError, match=r"labels-idx1-ubyte.gz cannot be unpacked"):
        read_split(three, FASHION, "test", 32)


def test_labels_that_do_not_fit_are_refused(three, write_idx):
    labels = three / FASHION.home / "t10k-labels-idx1-ubyte"
    write_idx(labels, np.array([1, 2], np.uint8))
    with pytest.raises(DatasetError, match=r"\(3, 28, 28\)"):
        read_split(three, FASHION, "test", 32)
    write_idx(labels, np.array([1, 2, 10], np.uint8))
    with pytest.raises(DatasetError, match="label 10"):
        read_split(three, FASHION, "test", 32)


@pytest.fixture
def zipped(tmp_path):
    """Four JPEG images of two classes, each of one level."""
    (tmp_path / JPEG.home).parent.mkdir()
    with ZipFile(tmp_path / JPEG.home, "w") as archive:
        levels = {"cat/0001": 90, "cat/0000": 30, "dog/0000": 150, "cat/0002": 210}
        for name, level in levels.items():
            file = io.BytesIO()
            Image.new("RGB", (32, 32), (level, level, level)).save(file, "JPEG")
            archive.writestr(f"test/{name}.jpg", file.getvalue())
    return tmp_path


def test_jpeg_images_come_by_name_with_their_class(zipped):
    found = read_split(zipped, JPEG, "test", 32)
    assert found.names == ("test/cat/0000", "test/cat/0001", "test/cat/0002", "test/dog/0000")
    assert found.classes.tolist() == ["cat", "cat", "cat", "dog"]
    assert found.images[:, 0, 0, 0].tolist() == [30, 90, 210, 150]
    some = read_split(zipped, JPEG, "test", 32, only="cat", at_most=2)
    assert some.names == ("test/cat/0000", "test/cat/0002")


def test_a_class_or_archive_that_is_not_there_is_an_error(zipped):
    with pytest.raises(DatasetError, match=r"no train/cat"):
        read_split(zipped, JPEG, "train", 32, only="cat")
    (zipped / JPEG.home).write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"CIFAR-10 \(JPEG\)"):
        read_split(zipped, JPEG, "test", 32)
