"""Everything that is wrong with a dataset on disk, named at once."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rd4ad.data.folders import (
    Category,
    DatasetError,
    Problem,
    Sample,
    Severity,
    folders_in,
    is_category,
    list_categories,
    scan_category,
)
from rd4ad.data.images import Progress, in_threads, read_gray, read_image, size_difference
from rd4ad.data.official import official_counts

__all__ = ["Problem", "check_dataset", "render_problems"]

_Found = Iterator[tuple[str, str, str, Severity]]  # kind, file, message, severity


@dataclass(frozen=True)
class _Seen:
    """What decoding one file told; `error` is empty where it could be decoded."""

    size: tuple[int, int] = (0, 0)
    digest: bytes = b""
    levels: tuple[int, ...] = ()
    error: str = ""


def check_dataset(
    data: str | Path, *, workers: int | None = None, progress: Progress | None = None
) -> list[Problem]:
    """Return what there is to say about the categories below `data`, or about `data` if it is one.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "part" / "train" / "good").mkdir(parents=True)
    ...     check_dataset(folder)[0].severity == "error"
    True

    Every image and mask is decoded. Errors are what would make metrics wrong or impossible,
    warnings what is worth a look, infos the counts. Categories with a name of MVTec
    AD are compared with it.

    Args:
        data: folder of categories in MVTec layout, or one category.
        workers: threads; by default one a processor, at most 8.
        progress: called with (done, total) after every file.

    Raises:
        DatasetError: `data` is not a folder or holds no category.
    """
    data = Path(data)
    names = list_categories(data)
    folders = [data] if is_category(data) else [data / name for name in names]
    if not folders:
        raise DatasetError(f"{data} holds no category: expected <category>/train/good below it")
    scanned = [scan_category(folder) for folder in folders]
    samples = [sample for category, _ in scanned for sample in category.train + category.test]
    jobs = [partial(_see_image, sample.path) for sample in samples]
    jobs += [partial(_see_mask, sample.mask_path) for sample in samples if sample.mask_path]
    results = in_threads(lambda job: job(), jobs, workers=workers, progress=progress)
    seen = {job.args[0]: result for job, result in zip(jobs, results, strict=True)}
    problems = []
    for category, layout in scanned:
        found = [*_contents(category), *_official(category, seen), *_pixels(category, seen)]
        problems += [*layout, *(Problem(category.name, *parts) for parts in found)]
    order = ("error", "warning", "info")
    return sorted(problems, key=lambda p: (p.category, order.index(p.severity)))


def render_problems(problems: Sequence[Problem]) -> str:
    """Return the problems by category, worst first, and a last line that counts them.

    >>> print(render_problems([Problem("nut", "no_masks", "", "no masks", "info")]))
    nut
      info     no masks
    errors: 0, warnings: 0
    """
    lines = []
    for name in dict.fromkeys(problem.category for problem in problems):
        lines.append(name)
        for problem in problems:
            if problem.category == name:
                text = f"{problem.file} {problem.message}".strip()
                lines.append(f"  {problem.severity:8s} {text}")
    severities = [problem.severity for problem in problems]
    n_errors, n_warnings = severities.count("error"), severities.count("warning")
    return "\n".join([*lines, f"errors: {n_errors}, warnings: {n_warnings}"])


def _see_image(path: Path) -> _Seen:
    try:
        image = read_image(path)
    except (DatasetError, OSError) as error:
        return _Seen(error=str(error).removeprefix(f"{path} "))
    height, width = image.shape[:2]
    digest = hashlib.blake2b(image.data, digest_size=16, salt=f"{width}x{height}".encode())
    return _Seen((width, height), digest.digest())


def _see_mask(path: Path) -> _Seen:
    try:
        gray = read_gray(path)
    except (DatasetError, OSError) as error:
        return _Seen(error=str(error).removeprefix(f"{path} "))
    height, width = gray.shape
    levels = np.flatnonzero(np.bincount(gray.ravel(), minlength=256))
    return _Seen((width, height), levels=tuple(levels.tolist()))


def _split(samples: Sequence[Sample]) -> tuple[int, int]:
    """Return how many are normal and how many show a defect."""
    n_defects = sum(sample.label for sample in samples)
    return len(samples) - n_defects, n_defects


def _contents(category: Category) -> _Found:
    n_normal, n_defects = _split(category.test)
    n_masks = sum(sample.mask_path is not None for sample in category.test)
    counts = (
        f"{len(category.train)} normal images to train on; {n_normal} normal and {n_defects} with "
        f"defects to test on; {n_masks} masks"
    )
    yield "counts", "", counts, "info"
    folders = ", ".join(folder.name for folder in folders_in(category.path / "test")) or "none"
    missing = "{}: expected {}, found these folders in test: " + folders
    if not category.test:
        wanted = "images in test/good and test/<type>"
        yield "empty_test", "test", missing.format("cannot be evaluated", wanted), "warning"
    elif not n_normal:
        effect, wanted = "leaves metrics of images undefined", "normal images in test/good"
        yield "no_normal_test", "test", missing.format(effect, wanted), "warning"
    elif not n_defects:
        effect, wanted = "leaves every metric undefined", "defects in test/<type>"
        yield "no_defect_test", "test", missing.format(effect, wanted), "warning"
    if n_defects and not n_masks:
        yield "no_masks", "ground_truth", "holds no masks: evaluated at image level only", "info"


def _official(category: Category, seen: dict[Path, _Seen]) -> _Found:
    official = official_counts().get(category.name)
    if official is None:
        return
    n_normal, n_defects = _split(category.test)
    n_types = len({sample.defect_type for sample in category.test if sample.label})
    differences = [
        f"{what}: {found} instead of {expected}"
        for what, found, expected in (
            ("train/good", len(category.train), official.train_good),
            ("test/good", n_normal, official.test_good),
            ("defects", n_defects, official.test_defective),
            ("defect types", n_types, official.defect_types),
        )
        if found != expected
    ]
    if differences:
        yield (
            "official_counts", "",
            f"is not MVTec AD's {category.name} as published ({'; '.join(differences)}): images "
            "may be missing; no matter if this is another dataset",
            "warning",
        )  # fmt: skip
    else:
        yield "official_counts", "", "counts as published in MVTec AD", "info"
    sizes = {seen[s.path].size for s in category.train + category.test if not seen[s.path].error}
    if sizes and sizes != {official.size}:
        width, height = official.size
        found_sizes = ", ".join(f"{w} x {h}" for w, h in sorted(sizes)[:3])
        message = f"images of {found_sizes} pixels; MVTec AD's are {width} x {height}"
        yield "official_size", "", message, "info"


def _pixels(category: Category, seen: dict[Path, _Seen]) -> _Found:
    trained_on: dict[bytes, str] = {}
    for sample in category.train + category.test:
        image = seen[sample.path]
        if image.error:
            yield "unreadable", sample.name, image.error, "error"
        elif sample.name.startswith("train/"):
            trained_on.setdefault(image.digest, sample.name)
        elif image.digest in trained_on:
            message = (
                f"shows the same picture as {trained_on[image.digest]}: an image tested on must "
                "not be trained on; remove one of them"
            )
            yield "train_and_test", sample.name, message, "error"
        if sample.mask_path:
            yield from _mask(category, sample, image, seen[sample.mask_path])


def _mask(category: Category, sample: Sample, image: _Seen, mask: _Seen) -> _Found:
    assert sample.mask_path is not None
    file = sample.mask_path.relative_to(category.path).as_posix()
    if mask.error:
        yield "unreadable", file, mask.error, "error"
        return
    if not image.error and image.size != mask.size:
        message = size_difference(sample.path, image.size, sample.mask_path, mask.size)
        yield "mask_size", file, message, "error"
    highest = mask.levels[-1]
    if highest == 0:
        message = f"marks nothing, but {sample.name} is in a folder of defects: draw it"
        yield "empty_mask", file, message, "error"
    elif highest < 128:
        message = f"has {highest} as its highest level, so marks nothing: expected 0 and 255"
        yield "mask_levels", file, message, "error"
    elif set(mask.levels) - {0, 255}:
        message = f"has {len(mask.levels)} gray levels, not only 0 and 255: cut at half of 255"
        yield "not_binary", file, message, "warning"
