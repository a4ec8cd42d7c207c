"""Datasets of ten classes for one-class novelty detection, where torchvision puts them; no torch.

    <data>/MNIST/raw/train-images-idx3-ubyte          and its three neighbors; plain or .gz
    <data>/FashionMNIST/raw/train-images-idx3-ubyte
    <data>/cifar-10-batches-py/                       pickles, which torchvision checks and
                                                      reads for `rd4ad.evaluation.one_class`
    <data>/CIFAR10/cifar10_jpeg.zip                   train/<class>/<number>.jpg, test/...; lossy

An image of an IDX file is named by its content, so that a copy in another order holds the same
images under the same names.
"""

import gzip
import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from rd4ad.data.decoding import eight_bit, opened_bytes
from rd4ad.data.folders import DatasetError
from rd4ad.data.images import read_images

SplitName = Literal["train", "test"]
NORMALIZATIONS = ("imagenet", "none")
_IDX = {"train": "train", "test": "t10k"}
_DIGITS = tuple("0123456789")
_OBJECTS = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class NoveltySet:
    """A dataset of ten classes.

    Args:
        title: its name in runs and on pages.
        home: its folder or file below the data folder.
        classes: their names, in the order of the labels.
        normalization: what the released code does to its images: "imagenet" subtracts ImageNet's
            mean and divides by its deviation, "none" leaves levels in [0, 1].
        license: as its authors, or who passes it on, state it.
        is_shown: whether that license lets a page show its images.
        note: what to know when its metrics stand beside others.
    """

    title: str
    home: str
    classes: tuple[str, ...]
    normalization: str
    license: str
    is_shown: bool
    note: str = ""


NOVELTY_SETS = {
    "mnist": NoveltySet(
        title="MNIST", home="MNIST/raw", classes=_DIGITS, normalization="none",
        license="CC BY-SA 3.0 (as TensorFlow's documentation of the dataset states)",
        is_shown=True,
    ),
    "fashion_mnist": NoveltySet(
        title="FashionMNIST", home="FashionMNIST/raw", normalization="none",
        classes=("t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker",
                 "bag", "ankle_boot"),
        license="MIT", is_shown=True,
    ),
    "cifar10": NoveltySet(
        title="CIFAR-10", home="cifar-10-batches-py", classes=_OBJECTS, normalization="imagenet",
        license="none stated", is_shown=False,
    ),
    "cifar10_jpeg": NoveltySet(
        title="CIFAR-10 (JPEG)", home="CIFAR10/cifar10_jpeg.zip", classes=_OBJECTS,
        normalization="imagenet", license="none stated", is_shown=False,
        note="JPEG images, with loss: not the dataset of papers.",
    ),
}  # fmt: skip
"""By the name that the command line takes. Normalization: hq-deng/RD4AD test.py and dataset.py."""
TITLES = {chosen.title: key for key, chosen in NOVELTY_SETS.items()}
PROTOCOL = {"size_px": 32, "epochs": 16, "batch_size": 64, "holdout": 0.0, "sigma_px": 0.0}
"""Settings of a training that differ from a category's. The paper's epochs are not known here."""


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """Images of one split, or of one class of it.

    Args:
        images: (N, S, S, 3) uint8.
        classes: (N,) the class of each, by name.
        names: of each: "<split>/<class>/<content's hash, or file's stem>".
    """

    images: NDArray[np.uint8]
    classes: NDArray[np.str_]
    names: tuple[str, ...]


def set_named(key: str) -> NoveltySet:
    """Return a dataset by the name that the command line takes.

    >>> set_named("mnist").classes[3]
    '3'

    Raises:
        ValueError: no such dataset; the message lists those there are.
    """
    if key not in NOVELTY_SETS:
        raise ValueError(f"dataset must be one of {', '.join(NOVELTY_SETS)}; got {key!r}")
    return NOVELTY_SETS[key]


def read_split(
    data: Path, chosen: NoveltySet, split: SplitName, size_px: int,
    *, only: str | None = None, at_most: int = 0,
) -> LabeledImages:  # fmt: skip
    """Return the images of a split at `size_px`, gray ones repeated to three channels.

    Args:
        data: folder that holds the dataset's home.
        chosen: an IDX or JPEG set; CIFAR-10's own files are read by `rd4ad.evaluation.one_class`.
        split: "train" or "test".
        size_px: side to which images are resized, as pictures are everywhere in this package.
        only: one class alone.
        at_most: so many images, evenly spaced over those chosen; 0 for all.

    Raises:
        DatasetError: a file is missing or damaged, or there is no such image in it.
    """
    if chosen.home.endswith(".zip"):
        return _from_zip(data / chosen.home, chosen, split, size_px, only, at_most)
    images, labels = read_idx_split(data, chosen, split)
    return picked(images, labels, chosen, split, size_px, only, at_most)


def picked(
    images: NDArray[np.uint8], labels: NDArray[np.integer], chosen: NoveltySet, split: SplitName,
    size_px: int, only: str | None, at_most: int,
) -> LabeledImages:  # fmt: skip
    """Return some of a split's arrays, resized and named by their content; see `read_split`.

    >>> gray, labels = np.zeros((4, 28, 28), np.uint8), np.array([3, 1, 3, 3])
    >>> found = picked(gray, labels, NOVELTY_SETS["mnist"], "test", 32, only="3", at_most=2)
    >>> found.images.shape, found.names[0]
    ((2, 32, 32, 3), 'test/3/0c37ddc4')
    """
    classes = np.array(chosen.classes)[labels]
    places = np.arange(len(images)) if only is None else np.flatnonzero(classes == only)
    places = places[evenly(len(places), at_most)]
    if not len(places):
        raise DatasetError(f"{chosen.title} has no {split} image of {only or 'any class'}")
    return LabeledImages(
        read_images([images[i] for i in places], size_px).images,
        classes[places],
        tuple(name_of(images[i], str(classes[i]), split) for i in places),
    )


def evenly(n: int, at_most: int) -> NDArray[np.intp]:
    """Return at most so many indices of n things, evenly spaced; all of them where `at_most` is 0.

    >>> evenly(10, 4).tolist(), evenly(3, 0).tolist()
    ([0, 3, 6, 9], [0, 1, 2])
    """
    n_kept = min(n, at_most) if at_most else n
    return np.linspace(0, n - 1, n_kept).round().astype(np.intp)


def name_of(image: NDArray[np.uint8], of_class: str, split: str) -> str:
    """Return the name of an image by its content."""
    return f"{split}/{of_class}/{hashlib.sha256(image.tobytes()).hexdigest()[:8]}"


def images_by_name(data: Path, chosen: NoveltySet) -> dict[str, NDArray[np.uint8]]:
    """Return the test images of an IDX set as they are, (28, 28), by name.

    Raises:
        DatasetError: as `read_split`.
    """
    images, labels = read_idx_split(data, chosen, "test")
    pairs = zip(images, labels, strict=True)
    return {name_of(image, chosen.classes[k], "test"): image for image, k in pairs}


def read_idx_split(
    data: Path, chosen: NoveltySet, split: SplitName
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return images (N, h, w) and labels (N,) of a split of an IDX set.

    Raises:
        DatasetError: a file is missing or damaged, or images and labels do not go together.
    """
    folder = data / chosen.home
    image_file = _found(folder, f"{_IDX[split]}-images-idx3-ubyte")
    label_file = _found(folder, f"{_IDX[split]}-labels-idx1-ubyte")
    images, labels = read_idx(image_file), read_idx(label_file)
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DatasetError(
            f"{image_file} holds {images.shape}, {label_file} {labels.shape}: expected (N, h, w) "
            "and (N,); fetch both again"
        )
    if labels.max(initial=0) >= len(chosen.classes):
        raise DatasetError(f"{label_file} has the label {labels.max()}: expected 0 to 9")
    return images, labels


def _found(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DatasetError(
        f"expected {name} or {name}.gz in {folder}, found neither: put the dataset's four files "
        "there, or let `rd4ad novelty --download` fetch them"
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Return the array of bytes in an IDX file, gzipped where its name ends in .gz.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "labels-idx1-ubyte"
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 7, 9]))
    ...     read_idx(path).tolist()
    [7, 9]

    Raises:
        DatasetError: truncated, or not such a file.

    Source: the format as the MNIST data base describes it: two zero bytes, the type (8: bytes), the
    number of axes, their lengths as big-endian 32-bit integers, the content.
    """
    try:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DatasetError(f"{path} cannot be unpacked ({error}): fetch it again") from error
    n_axes = content[3] if len(content) > 3 else 0
    start = 4 + 4 * n_axes
    if content[:3] != b"\0\0\x08" or not n_axes or len(content) < start:
        raise DatasetError(f"{path} is no IDX file of bytes: fetch it again")
    shape = np.frombuffer(content, ">u4", n_axes, offset=4).astype(int)
    if len(content) - start != shape.prod():
        raise DatasetError(
            f"{path}: expected {shape.prod()} bytes for its shape {tuple(shape.tolist())}, found "
            f"{len(content) - start}: fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _from_zip(
    path: Path, chosen: NoveltySet, split: str, size_px: int, only: str | None, at_most: int
) -> LabeledImages:
    try:
        with ZipFile(path) as archive:
            names = _chosen_members(archive.namelist(), split, only, at_most)
            if not names:
                raise DatasetError(
                    f"{path} has no {split}/{only or '<class>'}/*.jpg: expected every split and "
                    "class as a folder"
                )
            pictures = [_decoded(archive.read(name), f"{path}/{name}") for name in names]
    except (BadZipFile, OSError, zlib.error) as error:
        raise DatasetError(
            f"expected the JPEG images of {chosen.title} in {path}: {error}"
        ) from error
    return LabeledImages(
        read_images(pictures, size_px).images,
        np.array([name.split("/")[1] for name in names]),
        tuple(name.removesuffix(".jpg") for name in names),
    )


def _chosen_members(
    names: Sequence[str], split: str, only: str | None, at_most: int
) -> tuple[str, ...]:
    start = f"{split}/{only}/" if only else f"{split}/"
    found = sorted(name for name in names if name.startswith(start) and name.endswith(".jpg"))
    return tuple(found[i] for i in evenly(len(found), at_most))


def _decoded(content: bytes, name: str) -> NDArray[np.uint8]:
    with opened_bytes(content) as image:
        return np.array(eight_bit(image, name).convert("RGB"))
