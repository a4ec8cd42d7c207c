"""Generated inspection images: six parts, their defects and exact masks, all from a seed.

An image is determined by (seed, category, split, defect type, index) alone, so any one of them can
be made by itself. A defect changes the part within its mask and nothing else: light, noise and the
part itself are drawn from generators of their own, the same with and without the defect.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.data.parts import bottle, cloth, nut, tile, transistor, wood
from rd4ad.data.parts.camera import photograph
from rd4ad.data.parts.transistor import nominal_mask

__all__ = ["PARTS", "nominal_mask", "render", "render_scene", "write_parts"]

_DRAWN_BY = {
    "bottle": bottle,
    "cloth": cloth,
    "nut": nut,
    "tile": tile,
    "transistor": transistor,
    "wood": wood,
}
PARTS: dict[str, tuple[str, ...]] = {name: module.DEFECTS for name, module in _DRAWN_BY.items()}
"""Defect types of every category."""

Progress = Callable[[str, int, int], None]
_SPLITS = ("train", "test")


def render(
    category: str,
    defect_type: str,
    index: int,
    *,
    split: str = "test",
    seed: int = 0,
    size_px: int = 256,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return one picture (S, S, 3) uint8 and its mask (S, S) bool, True where defective.

    >>> image, mask = render("tile", "crack", 0)
    >>> image.shape, bool(mask.any())
    ((256, 256, 3), True)

    Args:
        category: a key of `PARTS`.
        defect_type: one of the category's, or "good" for none.
        index: which image of its kind, from 0.
        split: "train" or "test"; both have pictures of their own.
        seed: of the whole dataset.
        size_px: side of the picture.

    Raises:
        ValueError: unknown category, defect type or split; the message lists the known ones.
    """
    return render_scene(category, defect_type, (index, defect_type), split, seed, size_px)


def render_scene(
    category: str,
    defect_type: str,
    part: tuple[int, str],
    split: str = "test",
    seed: int = 0,
    size_px: int = 256,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the part that `render` shows for (index, type), with another defect or none on it.

    >>> flawless, _ = render_scene("tile", "good", (0, "crack"))
    >>> cracked, mask = render_scene("tile", "crack", (0, "crack"))
    >>> bool((flawless != cracked).any(axis=2)[mask].mean() > 0.5)
    True
    """
    if category not in PARTS:
        raise ValueError(f"no category {category!r}; there are {', '.join(PARTS)}")
    kinds = ("good", *PARTS[category])
    for kind in (defect_type, part[1]):
        if kind not in kinds:
            raise ValueError(f"{category} has no {kind!r}; there are {', '.join(kinds)}")
    if split not in _SPLITS:
        raise ValueError(f"split must be train or test; got {split!r}")
    numbers = (list(PARTS).index(category), _SPLITS.index(split), kinds.index(part[1]), part[0])
    sources = np.random.SeedSequence([seed, *numbers]).spawn(3)
    look, flaw, camera = (np.random.default_rng(source) for source in sources)
    drawn = None if defect_type == "good" else defect_type
    return photograph(_DRAWN_BY[category].draw(look, flaw, drawn), camera, size_px)


def write_parts(
    root: str | Path,
    *,
    seed: int = 0,
    categories: tuple[str, ...] = tuple(PARTS),
    n_train: int = 200,
    n_good: int = 20,
    n_per_defect: int = 8,
    progress: Progress | None = None,
) -> None:
    """Write the parts below `root` in MVTec layout, each category whole or not at all.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     write_parts(folder, categories=("tile",), n_train=2, n_good=1, n_per_defect=1)
    ...     sorted(path.name for path in (Path(folder) / "tile").iterdir())
    ['ground_truth', 'test', 'train']

    Raises:
        FileExistsError: a category's folder is there already.
        ValueError: an unknown category.
        OSError: the folder cannot be written; nothing half-written stays.
    """
    root, done = Path(root), 0
    for category in categories:
        if category not in PARTS:
            raise ValueError(f"no category {category!r}; there are {', '.join(PARTS)}")
        if (root / category).exists():
            raise FileExistsError(f"{root / category} is there already: choose an empty folder")
    root.mkdir(parents=True, exist_ok=True)
    counts = {"good": n_good}
    total = sum(n_train + n_good + n_per_defect * len(PARTS[name]) for name in categories)
    for category in categories:
        jobs = [("train", "good", i) for i in range(n_train)]
        for kind in ("good", *PARTS[category]):
            jobs += [("test", kind, i) for i in range(counts.get(kind, n_per_defect))]
        beside = root / f".{category}.{os.getpid()}"
        pool = ProcessPoolExecutor()
        try:
            made = pool.map(_write_one, repeat(beside), repeat(category), jobs, repeat(seed))
            for _ in made:
                done += 1
                if progress:
                    progress("drawing", done, total)
            beside.replace(root / category)
        finally:
            pool.shutdown(cancel_futures=True)
            shutil.rmtree(beside, ignore_errors=True)


def _write_one(folder: Path, category: str, job: tuple[str, str, int], seed: int) -> None:
    split, kind, index = job
    image, mask = render(category, kind, index, split=split, seed=seed)
    for path, picture in _files(folder, split, kind, index, image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def _files(
    folder: Path,
    split: str,
    kind: str,
    index: int,
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
) -> Iterator[tuple[Path, NDArray[np.uint8]]]:
    yield folder / split / kind / f"{index:03d}.png", image
    if kind != "good":
        yield folder / "ground_truth" / kind / f"{index:03d}_mask.png", mask.astype(np.uint8) * 255
