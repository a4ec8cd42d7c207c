"""Time the confidence intervals of a category against measuring its resamples again."""

import statistics
import tracemalloc
from functools import partial

import numpy as np
from host import interleaved, summary, write
from metrics import made

from rd4ad.metrics import (
    bootstrap,
    image_auroc,
    image_metrics,
    pixel_metrics,
    pixel_statistics,
)

N_IMAGES, ROUNDS = 100, 3


def peak_mib(run: partial) -> int:
    """Return the most memory that a call holds at once."""
    tracemalloc.start()  # NumPy reports its arrays to it
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return round(peak / 2**20)


def image_auroc_again(labels: np.ndarray, scores: np.ndarray, n_resamples: int) -> None:
    """Image AUROC of resamples, each measured on its own."""
    rng = np.random.default_rng(0)
    for _ in range(n_resamples):
        drawn = rng.integers(len(labels), size=len(labels))
        image_auroc(labels[drawn], scores[drawn])


def main() -> None:
    """Measure and write results/bench/significance.json."""
    masks, maps = made(N_IMAGES)
    labels, scores = masks.any(axis=(1, 2)).astype(int), maps.max(axis=(1, 2)).astype(float)
    exact = image_metrics(labels, scores) | pixel_metrics(masks, maps)
    pixels = pixel_statistics(masks, maps)
    drawn = np.random.default_rng(0).integers(N_IMAGES, size=N_IMAGES)
    everything = partial(bootstrap, exact, labels, scores, pixels)
    cases = {
        "histograms of 100 images, once per run": partial(pixel_statistics, masks, maps),
        "all metrics, 1,000 resamples": everything,
        "image metrics, 1,000 resamples": partial(bootstrap, exact, labels, scores),
        "image AUROC again, 1,000 resamples": partial(image_auroc_again, labels, scores, 1000),
        "pixel metrics again, 1 resample": lambda: pixel_metrics(masks[drawn], maps[drawn]),
    }
    seconds = interleaved(cases, ROUNDS)
    rows = [{"case": name} | summary(values) for name, values in seconds.items()]
    rows.append({"case": "added peak memory, histograms", "mib": peak_mib(cases[rows[0]["case"]])})
    rows.append({"case": "added peak memory, 1,000 resamples", "mib": peak_mib(everything)})

    def ratio(name: str, first: str, second: str, times: int = 1) -> dict[str, object]:
        pairs = zip(seconds[first], seconds[second], strict=True)
        return {"ratio": name, "median": round(statistics.median(times * a / b for a, b in pairs))}

    ratios = [
        ratio(
            "1,000 resamples measured again / all metrics, 1,000 resamples",
            "pixel metrics again, 1 resample",
            "all metrics, 1,000 resamples",
            times=1000,
        ),
    ]
    note = (
        "Intervals of a category of 100 images at 256 px. The time of 1,000 resamples measured "
        "again is a thousand times that of one."
    )
    write("significance", rows, ratios, note)


if __name__ == "__main__":
    main()
