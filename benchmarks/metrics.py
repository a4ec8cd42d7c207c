"""Time the metrics of a category against scikit-learn, a full sort and the released procedure."""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import statistics
import tracemalloc
from collections.abc import Callable

import numpy as np
from host import interleaved, summary, write
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import average_precision_score, roc_auc_score

from rd4ad.metrics import aupro_per_image, pixel_metrics, pixel_ranking
from rd4ad.metrics.category import metric_grid, scoring_grid
from rd4ad.metrics.regions import metric_rows
from rd4ad.scoring import Scoring

SIZE_PX = 256
ROUNDS = 5


def made(n: int) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Return plausible masks and maps: smooth noise, and blobs in two images of three."""
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((n, SIZE_PX, SIZE_PX)).astype(np.float32)
    maps = gaussian_filter(maps, (0, 4, 4)) * 8
    masks = np.zeros(maps.shape, bool)
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX]
    for i in range(0, 2 * n // 3):
        for _ in range(rng.integers(1, 4)):
            center, radius = rng.uniform(30, 226, 2), rng.uniform(6, 24)
            masks[i] |= np.hypot(y - center[0], x - center[1]) < radius
    return masks, maps + gaussian_filter(masks.astype(np.float32), (0, 4, 4)) * 1.5


def full_sort(masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> tuple[float, float, float]:
    """Return AUROC, AP and F1-max the common way: all pixels sorted, hits and misses summed up."""
    order = np.argsort(maps, axis=None)[::-1]
    hit, score = masks.ravel()[order], maps.ravel()[order]
    last = np.r_[score[1:] != score[:-1], True]  # of equal scores
    hits, misses = np.cumsum(hit)[last], np.cumsum(~hit)[last]
    recall, precision = hits / hits[-1], hits / (hits + misses)
    area = np.trapezoid(np.r_[0, recall], np.r_[0, misses / misses[-1]])
    f1 = 2 * hits / (hits + misses + hits[-1])
    return float(area), float(np.sum(np.diff(recall, prepend=0) * precision)), float(f1.max())


def two_hundred_thresholds(masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> None:
    """Per-image PRO threshold by threshold, as the released code computes it."""
    for mask, anomaly_map in zip(masks, maps, strict=True):
        if not mask.any():
            continue
        regions, n = label(mask, structure=np.ones((3, 3)))
        low, high = anomaly_map.min(), anomaly_map.max()
        for threshold in np.arange(low, high, (high - low) / 200):
            found = anomaly_map > threshold
            for k in range(1, n + 1):
                found[regions == k].mean()
            (found & ~mask).sum()


def peak_mib(masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> int:
    """Return the most memory that the metrics hold at once, beside masks and maps."""
    tracemalloc.start()  # NumPy reports its arrays to it
    pixel_metrics(masks, maps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 2**20)


def one_ranking(masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> dict[str, float]:
    """Return all metrics but the released PRO, which takes each image by itself."""
    return metric_rows(pixel_ranking(masks, maps))


def grid_of(masks: NDArray[np.bool_]) -> tuple[Callable[[], object], int]:
    """Return what computes every metric of every scoring of a run, and how many scorings it has."""
    rng = np.random.default_rng(0)
    distances = {
        layer: rng.random((len(masks), side, side), np.float32)
        for layer, side in ((1, SIZE_PX // 4), (2, SIZE_PX // 8), (3, SIZE_PX // 16))
    }
    labels = masks.any((1, 2)).astype(int)
    n_scorings = len(list(scoring_grid(Scoring(), tuple(distances), SIZE_PX)))
    return lambda: metric_grid(distances, labels, masks, Scoring(), SIZE_PX), n_scorings


def main() -> None:
    """Measure and write results/bench/metrics.json.

    Raises:
        AssertionError: the other ways give other metrics.
    """
    small, large = made(100), made(1000)
    flat = small[0].ravel(), small[1].ravel()
    ours = one_ranking(*small)
    assert np.allclose(
        full_sort(*small), [ours[f"pixel_{name}"] for name in ("auroc", "ap", "f1_max")]
    )
    assert np.isclose(roc_auc_score(*flat), ours["pixel_auroc"])
    reference = "AUROC, AP, F1-max and PRO, 100 images"
    grid, n_scorings = grid_of(small[0])
    seconds = interleaved(
        {
            reference: lambda: one_ranking(*small),
            "scikit-learn AUROC, 100 images": lambda: roc_auc_score(*flat),
            "scikit-learn AP, 100 images": lambda: average_precision_score(*flat),
            "AUROC, AP and F1-max by a full sort, 100 images": lambda: full_sort(*small),
            "released PRO, 100 images": lambda: aupro_per_image(*small),
            "released PRO by its 200 thresholds, 100 images": lambda: two_hundred_thresholds(
                *small
            ),
            "AUROC, AP, F1-max and PRO, 1000 images": lambda: one_ranking(*large),
            "released PRO, 1000 images": lambda: aupro_per_image(*large),
            f"all metrics of {n_scorings} scorings, 100 images": grid,
        },
        ROUNDS,
    )
    rows = [{"case": name} | summary(values) for name, values in seconds.items()]
    for n, arrays in ((100, small), (1000, large)):
        rows.append({"case": f"added peak memory, {n} images", "mib": peak_mib(*arrays)})
    ratios = [
        {
            "ratio": f"{one} / {other}",
            "median": round(
                statistics.median(a / b for a, b in zip(seconds[one], seconds[other], strict=True)),
                2,
            ),
        }
        for one, other in (
            ("scikit-learn AUROC, 100 images", reference),
            ("AUROC, AP and F1-max by a full sort, 100 images", reference),
            ("released PRO by its 200 thresholds, 100 images", "released PRO, 100 images"),
            ("AUROC, AP, F1-max and PRO, 1000 images", reference),
        )
    ]
    note = (
        "Pixel metrics of 256 px maps, 1.7% of all pixels defective. PRO: MVTec's, to 0.3, 0.05. "
        "Memory is beside masks and maps, for all metrics. Scorings: every choice of layers, by "
        "sum and by product."
    )
    write("metrics", rows, ratios, note)


if __name__ == "__main__":
    main()
