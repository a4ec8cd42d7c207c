"""Is a stored run still what its maps give? Metrics computed again, and the commit looked up."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rd4ad.home import has_commit
from rd4ad.metrics.category import category_metrics
from rd4ad.runs.dataset_images import masks_of
from rd4ad.runs.rescoring import own_scoring
from rd4ad.runs.run import Run
from rd4ad.scoring import IMAGE, Maps, Scoring, StreamedMaps, scores

TOLERANCE = 1e-5
"""What the rounding of stored distance maps may move a metric; see `rd4ad.runs.run.encode`."""


@dataclass(frozen=True)
class Difference:
    """A stored value that its maps do not give again."""

    name: str
    stored: float
    found: float


@dataclass(frozen=True)
class Verified:
    """What became of a run's metrics when they were computed again.

    Args:
        run_id: its name.
        n_checked: values that were compared.
        differences: those that differ by more than `TOLERANCE`.
        not_checked: what could not be computed here, and why.
        has_commit: whether the history holds the commit that the run names; None without a history.
    """

    run_id: str
    n_checked: int
    differences: tuple[Difference, ...]
    not_checked: str
    has_commit: bool | None

    @property
    def is_sound(self) -> bool:
        """Whether everything that could be compared agrees."""
        return not self.differences


def verify(run: Run, data: Path, *, whole_grid: bool = False) -> Verified:
    """Return whether a run's scores and metrics follow from its stored distance maps.

    Args:
        run: a stored one.
        data: folder of categories, for the masks of runs that do not keep them.
        whole_grid: every scoring of its grid, instead of its own alone.

    Raises:
        ValueError: a file of the run is damaged; the message names it.
    """
    images, distances = run.images(), run.distances()
    masks = masks_of(run, list(images["image"]), data)
    size_px = int(run.record["size_px"])
    labels = images["label"].to_numpy()
    own = own_scoring(run)
    found: list[Difference] = []
    n_checked = 0
    for scoring, rows in _scorings(run, own, whole_grid):
        maps = StreamedMaps(distances, scoring, size_px)
        image_scores = scores(distances, scoring, size_px, maps)
        if scoring == own:
            apart = np.abs(image_scores - images["score"].to_numpy())
            n_checked += len(images)
            worst = int(apart.argmax())
            if apart[worst] > TOLERANCE * max(1.0, abs(float(image_scores[worst]))):
                stored = float(images["score"].iloc[worst])
                name = f"score of {images['image'].iloc[worst]}"
                found.append(Difference(name, stored, float(image_scores[worst])))
        differences, n = _compared(rows, maps, image_scores, labels, masks)
        found += differences
        n_checked += n
    has_pixel = bool((run.metrics["metric"].eq("pixel_auroc") & run.metrics["value"].notna()).any())
    return Verified(
        run_id=str(run.record["run_id"]),
        n_checked=n_checked,
        differences=tuple(found),
        not_checked="pixel metrics: its masks are not here" if has_pixel and masks is None else "",
        has_commit=has_commit(str(run.record.get("commit", ""))),
    )


def _scorings(run: Run, own: Scoring, whole_grid: bool) -> Iterator[tuple[Scoring, pd.DataFrame]]:
    """Yield the scorings to compute again and their rows of metrics.csv."""
    table = run.metrics
    if not whole_grid:
        yield own, table[table["is_default"]]
        return
    for key, rows in table.groupby(["layers", "fusion", "smoothing"]):
        layers, fusion, sigma_px = map(str, key)
        parts = tuple(int(part) for part in layers.split("+"))
        chosen = replace(own, layers=parts, fusion=fusion, sigma_px=float(sigma_px))
        if set(parts) <= set(run.distances()) | {IMAGE}:
            yield chosen, rows


def _compared(
    rows: pd.DataFrame,
    maps: Sequence[Maps],
    image_scores: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    labels: "np.ndarray[tuple[int], np.dtype[np.int_]]",
    masks: "np.ndarray[tuple[int, int, int], np.dtype[np.bool_]] | None",
) -> tuple[list[Difference], int]:
    again = {
        str(row["metric"]): float(row["value"])
        for row in category_metrics(maps, image_scores, labels, masks)
    }
    found, n_checked = [], 0
    for row in rows.to_dict("records"):
        if row["metric"] not in again:
            continue  # of a protocol of its own, as one-class novelty has
        stored, value = float(row["value"]), again[row["metric"]]
        if math.isnan(value) and masks is None:
            continue  # said once for the run
        n_checked += 1
        if not np.isclose(stored, value, rtol=0, atol=TOLERANCE, equal_nan=True):
            where = f"layers {row['layers']}, {row['fusion']}, {row['smoothing']:g} px"
            found.append(Difference(f"{row['metric']} at {where}", stored, value))
    return found, n_checked
