"""The official counts of MVTec AD, to compare a copy on disk with."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class OfficialCounts:
    """How many images per category has as it was published, and their size.

    Args:
        train_good: normal images to train on.
        test_good: normal images to test on.
        test_defective: images with a defect.
        defect_types: folders of defects.
        size: (width, height) in pixels.
        source: where these were read.
    """

    train_good: int
    test_good: int
    test_defective: int
    defect_types: int
    size: tuple[int, int]
    source: str


@cache
def official_counts() -> dict[str, OfficialCounts]:
    """Return the counts of the 15 categories of MVTec AD by name.

    >>> official_counts()["transistor"].test_defective
    40
    """
    text = files("rd4ad.data").joinpath("official_counts.csv").read_text(encoding="utf-8")
    counts = {}
    for row in csv.DictReader(text.splitlines()):
        width, height = row["image_size"].split("x")
        counts[row["category"]] = OfficialCounts(
            train_good=int(row["train_good"]),
            test_good=int(row["test_good"]),
            test_defective=int(row["test_defective"]),
            defect_types=int(row["defect_types"]),
            size=(int(width), int(height)),
            source=row["source"],
        )
    return counts
