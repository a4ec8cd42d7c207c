"""Is a difference between runs real? Intervals of a run's metrics, paired differences, seeds.

Two questions are kept apart. Would other test images of the same kind turn the difference round?
That is the paired bootstrap over test images (`resample`, `differences`). Would another training
seed? That needs runs of several seeds (`seed_spread`); no bootstrap can tell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rd4ad.metrics import (
    PixelStatistics,
    bootstrap,
    interval,
    pixel_auroc,
    pixel_statistics,
)
from rd4ad.metrics.significance import N_RESAMPLES
from rd4ad.runs.run import METRIC_COLUMNS, Run, own_rows
from rd4ad.runs.store import write_run

_ROUNDING = 1e-12  # sums in another order
NOT_STORED = "no interval stored: evaluate again, or `rd4ad results intervals`"
SETTING = (
    "dataset", "category", "method", "backbone", "size_px", "epochs", "variant", "layers",
    "fusion", "smoothing", "metric", "definition",
)  # fmt: skip


def with_intervals(
    table: pd.DataFrame,
    scoring: Mapping[str, object],
    labels: ArrayLike,
    scores: ArrayLike,
    pixels: PixelStatistics | None,
) -> pd.DataFrame:
    """Return the rows of metrics.csv with the interval of every metric at the run's own scoring.

    >>> row = {"layers": "1", "fusion": "sum", "smoothing": 4.0, "metric": "image_auroc"}
    >>> table = pd.DataFrame([row | {"value": 0.75, "ci_low": np.nan, "ci_high": np.nan}])
    >>> scoring = {"layers": "1", "fusion": "sum", "sigma_px": 4.0}
    >>> found = with_intervals(table, scoring, [0, 0, 1], [0.1, 0.4, 0.4], None)
    >>> found[["ci_low", "ci_high"]].values.tolist()
    [[0.5, 1.0]]

    Args:
        table: with `rd4ad.runs.run.METRIC_COLUMNS`; the rows of other scorings stay as they are.
        scoring: the run's own, as its record has it.
        labels: (N,) of the test images, 0 normal, 1 defect.
        scores: (N,) of the test images at the run's own scoring.
        pixels: of the test images' maps at that scoring; None where there are no masks.
    """
    own = table[own_rows(table, scoring)]
    exact = dict(zip(own["metric"], own["value"], strict=True))
    filled = table.copy()
    for metric, values in bootstrap(exact, labels, scores, pixels).items():
        filled.loc[own.index[own["metric"] == metric], ["ci_low", "ci_high"]] = interval(values)
    return filled


def add_intervals(run: Run, maps: NDArray[np.floating], masks: NDArray[np.bool_] | None) -> Run:
    """Return a run with its confidence intervals, measured now if it was stored without them.

    Args:
        run: a stored run; its folder gains what it lacks.
        maps: (N, S, S) its anomaly maps at its own scoring.
        masks: (N, S, S) of its test images; None where its category has none.

    Raises:
        ValueError: the run has pixel metrics and there are no masks, or these masks do not give
            its metrics.
        OSError: the folder cannot be written.
    """
    own = run.metrics[run.metrics["is_default"]]
    stored = float(own["value"][own["metric"] == "pixel_auroc"].item())
    found = np.nan if masks is None else pixel_auroc(masks, maps)
    if not np.isclose(stored, found, atol=1e-6, equal_nan=True):
        raise ValueError(
            f"{run.path}: its pixel AUROC is {stored:.6f}, and {found:.6f} by the masks at hand; "
            "expected the masks that it was measured with"
        )
    pixels = None if masks is None else pixel_statistics(masks, maps)
    images, table = run.images(), run.metrics[list(METRIC_COLUMNS)]
    table = with_intervals(table, run.record["scoring"], images["label"], images["score"], pixels)
    pieces = table, images, run.curves(), run.distances()
    return write_run(run.path.parents[1], run.record, *pieces, statistics=pixels)


@dataclass(frozen=True, eq=False)
class Resampled:
    """A run's own metrics on its test images, and on resamples of them.

    Args:
        images: dataset, category, and the names of the test images, sorted.
        exact: fraction by metric; nan where undefined.
        values: (R,) by metric that can be resampled.
        reasons: why a metric cannot.
    """

    images: tuple[str, ...]
    exact: dict[str, float]
    values: dict[str, NDArray[np.float64]]
    reasons: dict[str, str]


def resample(run: Run, n_resamples: int = N_RESAMPLES, seed: int = 0) -> Resampled:
    """Return a run's metrics at its own scoring, and those of resamples of its test images.

    Two runs on the same test images are resampled alike, so what is returned of them is paired.

    Args:
        run: whose metrics; pixel metrics need its stored `Run.statistics`.
        n_resamples: number of resamples.
        seed: of the resamples.

    Raises:
        ValueError: a file of the run is damaged; the message names it.
    """
    own = run.metrics[run.metrics["is_default"]]
    of = str(run.record["dataset"]), str(run.record["category"])
    return resample_images(
        of, run.images(), own, run.statistics(), n_resamples=n_resamples, seed=seed
    )


def resample_images(
    of: tuple[str, str],
    table: pd.DataFrame,
    metrics: pd.DataFrame,
    statistics: PixelStatistics | None,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
) -> Resampled:
    """Return the metrics of scored test images, and those of resamples of them; see `resample`.

    Args:
        of: dataset and category.
        table: `image`, `label` and `score`, one row an image.
        metrics: `metric`, `value` and `reason`, of these images.
        statistics: of their pixels; None where there are no masks.
        n_resamples, seed: of the resamples.
    """
    order = np.argsort(table["image"].to_numpy(str), kind="stable")  # paired by name
    table = table.iloc[order]
    exact = dict(zip(metrics["metric"], metrics["value"], strict=True))
    given = dict(zip(metrics["metric"], metrics["reason"], strict=True))
    values = bootstrap(
        exact,
        table["label"],
        table["score"],
        None if statistics is None else statistics.of(order),
        n_resamples=n_resamples,
        seed=seed,
    )
    reasons = {m: given[m] or NOT_STORED for m in exact if m not in values}
    return Resampled((*of, *table["image"]), exact, values, reasons)


def mean_of(several: Sequence[Resampled]) -> Resampled:
    """Return the means of metrics over runs on the same test images, such as runs of several seeds.

    Its resamples are of test images alone: how far seeds lie apart is `seed_spread`.

    Raises:
        ValueError: the runs are of different test images.
    """
    first = several[0]
    for other in several[1:]:
        _require_same_images(first, other)
    return Resampled(
        first.images,
        {m: float(np.mean([one.exact.get(m, np.nan) for one in several])) for m in first.exact},
        {
            m: np.mean([one.values[m] for one in several], axis=0)
            for m in first.values
            if all(m in one.values for one in several)
        },
        {m: reason for one in reversed(several) for m, reason in one.reasons.items()},
    )


def _require_same_images(one: Resampled, other: Resampled) -> None:
    if one.images[:2] != other.images[:2]:
        names = [" / ".join(run.images[:2]) for run in (one, other)]
        raise ValueError(f"not the same test images: {names[0]} and {names[1]}")
    unpaired = set(one.images) ^ set(other.images)
    if unpaired or len(one.images) != len(other.images):
        some = ", ".join(sorted(unpaired)[:3])
        raise ValueError(
            f"not the same test images: {len(unpaired)} are in one run alone, such as {some}"
        )


@dataclass(frozen=True)
class Difference:
    """One metric of two runs, first minus second, with its 95% interval over test images.

    Args:
        first: fraction; nan where undefined.
        second: fraction; nan where undefined.
        ci_low: lower end of the interval; nan where there is none.
        ci_high: upper end.
        reason: why there is no interval; empty if there is one.
    """

    first: float
    second: float
    ci_low: float = float("nan")
    ci_high: float = float("nan")
    reason: str = ""

    @property
    def difference(self) -> float:
        """First minus second."""
        return self.first - self.second

    @property
    def is_distinguishable(self) -> bool:
        """Whether the interval is there and leaves zero out, by more than rounding."""
        return self.ci_low > _ROUNDING or self.ci_high < -_ROUNDING


def differences(first: Resampled, second: Resampled) -> dict[str, Difference]:
    """Return the difference of every metric that both runs have, by metric.

    >>> images = ("parts", "nut", "test/bent/000.png", "test/good/000.png")
    >>> one = Resampled(images, {"aupro": 0.9}, {"aupro": np.array([0.8, 0.9, 1.0])}, {})
    >>> two = Resampled(images, {"aupro": 0.7}, {"aupro": np.array([0.6, 0.7, 0.8])}, {})
    >>> found = differences(one, two)["aupro"]
    >>> round(found.difference, 6), round(found.ci_low, 6), found.is_distinguishable
    (0.2, 0.2, True)

    Args:
        first: see `resample`, or `mean_of` for several seeds.
        second: on the same test images, with the same number and seed of resamples.

    Raises:
        ValueError: the runs are of different test images, by their names.
    """
    _require_same_images(first, second)
    found = {}
    for metric in first.exact:
        if metric not in second.exact:
            continue
        both = first.exact[metric], second.exact[metric]
        reason = first.reasons.get(metric) or second.reasons.get(metric, "")
        if reason:
            found[metric] = Difference(*both, reason=reason)
        else:
            ends = interval(first.values[metric] - second.values[metric])
            found[metric] = Difference(*both, *ends)
    return found


def seed_spread(index: pd.DataFrame) -> pd.DataFrame:
    """Return mean, standard deviation and number of every metric over runs that differ by seed.

    >>> setting = dict.fromkeys(SETTING, "")
    >>> rows = [setting | {"run_id": f"s{s}", "seed": s, "value": 0.9 + s / 50} for s in (0, 1, 2)]
    >>> seed_spread(pd.DataFrame(rows))[["mean", "sd", "n", "runs"]].round(3).values.tolist()
    [[0.92, 0.02, 3, ('s0', 's1', 's2')]]

    Args:
        index: as `rd4ad.runs.index.metric_rows` returns it; rows without a value are left out.

    Returns:
        One row a setting and metric: the columns `SETTING`, `mean`, `sd` (over n - 1), `n`, `runs`.
        `sd` is nan of one run, and where two runs have one seed: then they differ by something else
        that the index does not tell.
    """
    rows = index.dropna(subset="value")
    groups = rows.groupby(list(SETTING), sort=False, dropna=False)
    table = groups.agg(
        mean=("value", "mean"),
        sd=("value", "std"),
        n=("value", "size"),
        n_seeds=("seed", "nunique"),
        runs=("run_id", tuple),
    ).reset_index()
    table["sd"] = table["sd"].where(table["n_seeds"] == table["n"])
    return table.drop(columns="n_seeds")
