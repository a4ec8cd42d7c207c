"""Folders in the layout of MVTec AD: which images there are, what they show, where their masks lie.

    <data>/<category>/train/good/*.png                      normal images to train on
    <data>/<category>/test/good/*.png                       normal images to test on
    <data>/<category>/test/<defect type>/<stem>.png         images with that defect
    <data>/<category>/ground_truth/<defect type>/<stem>_mask.png   (or <stem>.png)

Images and masks are paired by name and sorted by name. Nothing is decoded here.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

IMAGE_SUFFIXES = frozenset(
    (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
Severity = Literal["error", "warning", "info"]


class DatasetError(ValueError):
    """What was found on disk is not what was expected; the message says both, and where."""


@dataclass(frozen=True)
class Sample:
    """One image of a category.

    Args:
        name: relative to the category, "test/bent_lead/003.png".
        path: its file.
        defect_type: the folder it lies in, "good" for normal images.
        label: 0 for a normal image, 1 for a defect.
        mask_path: its mask; None for normal images and where a category has no masks.
    """

    name: str
    path: Path
    defect_type: str
    label: Literal[0, 1]
    mask_path: Path | None


@dataclass(frozen=True)
class Category:
    """The images of one category, each split sorted by name.

    Args:
        name: its folder's name.
        path: its folder.
        train: normal images to train on.
        test: normal images and defects to test on; empty where there is no folder `test`.
    """

    name: str
    path: Path
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]

    @property
    def has_masks(self) -> bool:
        """Whether there are defects to test on and each has a mask."""
        defects = [sample for sample in self.test if sample.label]
        return bool(defects) and all(sample.mask_path for sample in defects)


@dataclass(frozen=True)
class Problem:
    """One thing to know about a category on disk.

    Args:
        category: its name.
        kind: one word or two with an underscore, such as "missing_mask".
        file: relative to the category; "" where the problem is the category's.
        message: what was expected, what was found, what to do.
        severity: "error" (metrics would be wrong or impossible), "warning" or "info".
    """

    category: str
    kind: str
    file: str
    message: str
    severity: Severity

    def to_dict(self) -> dict[str, str]:
        """Return the fields by name, as JSON can hold them.

        >>> Problem("nut", "no_masks", "", "no masks", "info").to_dict()["severity"]
        'info'
        """
        return asdict(self)


def list_categories(data: str | Path) -> list[str]:
    """Return the names of the folders below `data` that hold a folder `train` or `test`, sorted.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "bottle" / "train" / "good").mkdir(parents=True)
    ...     list_categories(folder)
    ['bottle']

    Raises:
        DatasetError: `data` is not a folder.
    """
    data = Path(data)
    if not data.is_dir():
        found = "a file" if data.exists() else "nothing"
        raise DatasetError(
            f"expected a folder of categories at {data}, found {found}: give the folder that holds "
            "<category>/train/good, or make one to try with `rd4ad data make`"
        )
    return sorted(path.name for path in data.iterdir() if is_category(path))


def is_category(path: Path) -> bool:
    """Return whether this folder holds a folder `train` or `test`.

    >>> is_category(Path("nowhere"))
    False
    """
    return not path.name.startswith(".") and any((path / s).is_dir() for s in ("train", "test"))


def open_category(data: str | Path, category: str) -> Category:
    """Return the category `category` below the folder `data`.

    >>> from tempfile import TemporaryDirectory
    >>> from rd4ad.data.parts import write_parts
    >>> with TemporaryDirectory() as folder:
    ...     write_parts(folder, categories=("tile",), n_train=2, n_good=1, n_per_defect=1)
    ...     tile = open_category(folder, "tile")
    >>> len(tile.train), tile.test[0].defect_type
    (2, 'chip')

    A category without the folder `ground_truth`, or with no image in it, has no masks. One without
    `test` can be trained on but not evaluated.

    Raises:
        DatasetError: no such folder or category, no images in train/good, a defect without a mask
            while others have one, or two images or masks that cannot be distinguished by name.
    """
    data = Path(data)
    names = list_categories(data)
    if category not in names:
        raise DatasetError(_not_found(data, category, names))
    opened, problems = scan_category(data / category)
    errors = [
        f"{opened.path / problem.file} {problem.message}"
        for problem in problems
        if problem.severity == "error"
    ]
    if errors:
        raise DatasetError(listed(errors))
    return opened


def listed(messages: Sequence[str], at_most: int = 5) -> str:
    """Return the messages in one, the first few in full and the others as a count.

    >>> print(listed(["a", "b", "c"], at_most=2))
    a
    b
    and 1 more
    """
    more = [f"and {len(messages) - at_most} more"] if len(messages) > at_most else []
    return "\n".join([*messages[:at_most], *more])


def scan_category(path: Path) -> tuple[Category, list[Problem]]:
    """Return the category in the folder `path` and all that is wrong with its names and folders.

    >>> category, problems = scan_category(Path("nowhere"))
    >>> category.name, problems[0].kind, problems[0].severity
    ('nowhere', 'no_train_good', 'error')
    """
    masks = masks_by_image(path / "ground_truth")
    train = _samples(path, path / "train" / "good", masks)
    test = [
        sample for folder in folders_in(path / "test") for sample in _samples(path, folder, masks)
    ]
    name = Path(os.path.abspath(path)).name  # of "." too; a link keeps its own name
    category = Category(name, path, tuple(train), tuple(test))
    return category, [
        Problem(name, kind, file.relative_to(path).as_posix(), message, severity)
        for kind, file, message, severity in _layout_problems(category, masks)
    ]


def _samples(path: Path, folder: Path, masks: dict[str, list[Path]]) -> list[Sample]:
    label: Literal[0, 1] = 0 if folder.name == "good" else 1
    found = []
    for file in image_files(folder):
        candidates = masks.get(f"{folder.name}/{file.stem}") if label else None
        mask = candidates[0] if candidates else None
        found.append(Sample(file.relative_to(path).as_posix(), file, folder.name, label, mask))
    return found


def _layout_problems(
    category: Category, masks: dict[str, list[Path]]
) -> Iterator[tuple[str, Path, str, Severity]]:
    """Yield kind, file, message and severity of each."""
    good = category.path / "train" / "good"
    if not category.train:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        message = f"holds no image: expected normal images to train on, put them there ({kinds})"
        yield "no_train_good", good, message, "error"
    samples = category.train + category.test
    stems = Counter(sample.path.with_suffix("") for sample in samples)
    for sample in samples:
        stem, key = sample.path.stem, f"{sample.defect_type}/{sample.path.stem}"
        wanted = f"ground_truth/{key}_mask.png"
        if stems[sample.path.with_suffix("")] > 1:
            message = f"another image in this folder is named {stem} too: rename one of them"
            yield "same_stem", sample.path, message, "error"
        if sample.label and masks and sample.mask_path is None:
            message = (
                f"has no mask: expected {wanted}; add it, or take the whole folder ground_truth "
                "away to evaluate at image level"
            )
            yield "missing_mask", sample.path, message, "error"
        if sample.label and len(masks.get(key, [])) > 1:
            names = " and ".join(mask.name for mask in masks[key])
            yield "two_masks", sample.path, f"has several masks, {names}: keep {wanted}", "error"
    images = {f"{sample.defect_type}/{sample.path.stem}" for sample in category.test}
    for key in sorted(masks.keys() - images):
        for file in masks[key]:
            message = f"belongs to no image: expected test/{key}.*"
            yield "mask_without_image", file, message, "warning"
    for file in _unread(category.path):
        message = "is not used: images are read from train/good and test/<type> only"
        yield "not_used", file, message, "warning"


def masks_by_image(ground_truth: Path) -> dict[str, list[Path]]:
    """Return the masks below `ground_truth` by their image, "<defect type>/<stem>".

    `<stem>_mask` and `<stem>` both belong to the image `<stem>`.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "bent").mkdir()
    ...     (Path(folder) / "bent" / "003_mask.png").touch()
    ...     list(masks_by_image(Path(folder)))
    ['bent/003']
    """
    masks: dict[str, list[Path]] = {}
    for folder in folders_in(ground_truth):
        for file in image_files(folder):
            key = f"{folder.name}/{file.stem.removesuffix('_mask')}"
            masks.setdefault(key, []).append(file)
    return masks


def image_files(folder: Path) -> list[Path]:
    """Return the files in `folder` with a suffix of `IMAGE_SUFFIXES`, sorted; hidden ones not.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     for name in ("b.PNG", "a.jpg", ".c.png", "d.txt"):
    ...         (Path(folder) / name).touch()
    ...     [file.name for file in image_files(Path(folder))]
    ['a.jpg', 'b.PNG']
    """
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not file.name.startswith(".")
        and not file.is_dir()  # a broken link is listed, and fails when read
    )


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in `folder`, sorted; none where it does not exist, hidden ones not.

    >>> folders_in(Path("nowhere"))
    []
    """
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _unread(path: Path) -> list[Path]:
    others = [folder for folder in folders_in(path / "train") if folder.name != "good"]
    deeper = [
        inner
        for folder in [path / "train" / "good", *folders_in(path / "test")]
        for inner in folders_in(folder)
    ]
    folders = [path / "train", path / "test", *others, *deeper]
    return [file for folder in folders for file in image_files(folder)]


def _not_found(data: Path, category: str, names: list[str]) -> str:
    if is_category(data):
        inside = Path(os.path.abspath(data))
        return (
            f"{data} is itself a category: give its parent {inside.parent} as the data folder and "
            f"{inside.name} as the category"
        )
    if not names:
        return f"{data} holds no category: expected folders such as {data / category}/train/good"
    near = get_close_matches(category, names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no category {category!r} in {data}; found: {', '.join(names)}{hint}"


def split_holdout(n: int, share: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return sorted indices (kept, held out) of `n` normal images.

    >>> [len(part) for part in split_holdout(50, 0.1, seed=0)]
    [45, 5]

    Raises:
        DatasetError: fewer than two images would be left to train on.
    """
    n_held = round(n * share)
    if n - n_held < 2:
        raise DatasetError(f"training needs at least 2 normal images, found {n}: add more")
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[n_held:]), np.sort(order[:n_held])
