"""Time all figures of a category against scikit-learn and the released per-image procedure."""

import statistics
import tracemalloc

import numpy as np
from host import interleaved, summary, write
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label
from sklearn.metrics import average_precision_score, roc_auc_score

from rd4ad.metrics import pixel_figures

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
            centre, radius = rng.uniform(30, 226, 2), rng.uniform(6, 24)
            masks[i] |= np.hypot(y - centre[0], x - centre[1]) < radius
    return masks, maps + gaussian_filter(masks.astype(np.float32), (0, 4, 4)) * 1.5


def scikit_learn(masks: NDArray[np.bool_], maps: NDArray[np.float32]) -> None:
    """Pixel AUROC and AP alone."""
    roc_auc_score(masks.ravel(), maps.ravel())
    average_precision_score(masks.ravel(), maps.ravel())


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
    """Return the most memory that the figures hold at once, beside masks and maps."""
    tracemalloc.start()  # NumPy reports its arrays to it
    pixel_figures(masks, maps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 2**20)


def main() -> None:
    """Measure and write results/bench/metrics.json."""
    small, large = made(100), made(1000)
    seconds = interleaved(
        {
            "all figures, 100 images": lambda: pixel_figures(*small),
            "scikit-learn AUROC + AP, 100 images": lambda: scikit_learn(*small),
            "per-image PRO, 200 thresholds, 100 images": lambda: two_hundred_thresholds(*small),
            "all figures, 1000 images": lambda: pixel_figures(*large),
        },
        ROUNDS,
    )
    rows = [{"case": name} | summary(values) for name, values in seconds.items()]
    for n, arrays in ((100, small), (1000, large)):
        rows.append({"case": f"added peak memory, {n} images", "mib": peak_mib(*arrays)})
    ours = seconds["all figures, 100 images"]
    ratios = [
        {
            "ratio": f"{name} / all figures, 100 images",
            "median": round(statistics.median(a / b for a, b in zip(values, ours, strict=True)), 2),
        }
        for name, values in seconds.items()
        if values is not ours
    ]
    note = "All figures: pixel AUROC, AP, F1-max, AU-PRO at 0.3 and 0.05, and the released PRO."
    write("metrics", rows, ratios, note)


if __name__ == "__main__":
    main()
