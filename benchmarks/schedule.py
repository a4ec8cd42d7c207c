"""Metrics against epochs, and what ending early costs: schedule.py DATA CATEGORY...

Every training runs its whole schedule; the test images are looked at on the way, and decide
nothing. What `--patience` would have ended with is noted where the loss of held-out normal images
says so. `--device cuda` and `--jobs 3` do what one expects.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from host import write

from rd4ad.config import Stop, TrainingConfig
from rd4ad.data.folders import open_category, split_holdout
from rd4ad.data.images import read_images
from rd4ad.evaluation.category import read_test
from rd4ad.export.accuracy_gate import JUDGED_BY, metric_rows
from rd4ad.export.float16 import judge_with
from rd4ad.inference.detector import Detector
from rd4ad.inference.torch_engine import TorchEngine
from rd4ad.methods.method import method_class, seeded, teacher_of
from rd4ad.training.session import Session

SHOWN = (1, 2, 5, 10, 15, 20, 30, 40, 60, 80, 100, 120, 140, 160, 180, 200)
PATIENCES = (3, 5, 10, 20, 40)
SEEDS = (0, 1, 2)


class Watched(Session):
    """A fit that shows the losses of held-out images so far after every epoch."""

    look: Callable[[list[float]], None]

    def optimize(self, *args: Any, held_loss: Callable[[], float], **more: Any) -> None:
        """Run the epochs; see `Session`."""
        losses: list[float] = []

        def watched() -> float:
            losses.append(held_loss())
            self.look(losses)
            return losses[-1]

        super().optimize(*args, held_loss=watched, **more)


def trained(data: str, category: str, config: TrainingConfig, device: str) -> dict[str, Any]:
    """Return the metrics after some epochs, and after which epoch each patience ends."""
    opened = open_category(data, category)
    images = read_images([sample.path for sample in opened.train], config.size_px).images
    test, test_images = read_test(opened, config.size_px)
    kept, held = split_holdout(len(images), config.holdout, config.seed)
    teacher, file = teacher_of(str(config.backbone))
    with seeded(config.seed):
        method = method_class(config.method)(
            str(config.backbone), tuple(config.layers or ()), teacher=teacher
        ).to(device)
    scoring = config.scoring()
    metrics: dict[int, dict[str, float]] = {}
    ends: dict[int, int] = {}

    def look(losses: list[float]) -> None:
        epoch = len(losses)
        now = [
            patience
            for patience in PATIENCES
            if patience not in ends and Stop(patience=patience).ends(0.0, epoch, losses)
        ]
        ends.update(dict.fromkeys(now, epoch))
        if now or epoch in (*SHOWN, config.epochs):
            engine = TorchEngine(method, device)
            detector = Detector(engine, size_px=config.size_px, scoring=scoring, teacher_file=file)
            found = metric_rows(judge_with(detector), test, test_images)
            metrics[epoch] = found | {"held_loss": losses[-1]}

    never = Stop(patience=10 * (config.epochs or 0))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "part.safetensors"
        with Watched(config, out, {}, device=device, stop=never, held=images[held]) as session:
            session.look = look
            method.fit(images[kept], session)
    return {"metrics": metrics, "ends": {p: ends.get(p, config.epochs) for p in PATIENCES}}


def rows_of(category: str, runs: list[dict[str, Any]], epochs: int) -> list[dict[str, Any]]:
    """Return what the seeds' trainings of a category show, as a table's rows."""
    rows = []
    for epoch in sorted({epoch for epoch in SHOWN if epoch < epochs} | {epochs}):
        found = [run["metrics"][epoch] for run in runs]
        rows.append({"case": f"{category}, {epoch} epochs"} | means(found))
    for patience in PATIENCES:
        ends = [run["ends"][patience] for run in runs]
        found = [run["metrics"][end] for run, end in zip(runs, ends, strict=True)]
        last = [run["metrics"][epochs] for run in runs]
        against = {
            f"{metric} - full": round(
                statistics.mean(a[metric] - b[metric] for a, b in zip(found, last, strict=True)), 4
            )
            for metric in JUDGED_BY
        }
        said = {"ended_after": ", ".join(map(str, ends))}
        rows.append({"case": f"{category}, patience {patience}"} | means(found) | said | against)
    return rows


def means(found: list[dict[str, float]]) -> dict[str, Any]:
    """Return mean and standard deviation over seeds, in one text each."""
    return {
        name: f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"
        for name in found[0]
        for values in [[one[name] for one in found]]
    }


def main() -> None:
    """Train, measure and write results/bench/schedule.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("categories", nargs="+")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--size-px", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--precision", default="float32")
    options = parser.parse_args()
    configs = [
        TrainingConfig(
            size_px=options.size_px, epochs=options.epochs, precision=options.precision, seed=seed
        )
        for seed in SEEDS
    ]
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        futures = {
            category: [
                pool.submit(trained, options.data, category, config, options.device)
                for config in configs
            ]
            for category in options.categories
        }
        rows = [
            row
            for category, begun in futures.items()
            for row in rows_of(category, [one.result() for one in begun], options.epochs)
        ]
    where = torch.cuda.get_device_name() if options.device != "cpu" else "the processor"
    own = asdict(configs[0])
    note = (
        f"RD4AD, {own['backbone']}, {options.size_px} px, {options.precision}, trained on {where}, "
        f"a tenth of the normal images held out; mean ± standard deviation over the seeds "
        f"{', '.join(map(str, SEEDS))}. Metrics of the test images; a patience looks at held_loss, "
        "the loss of held-out normal images, alone."
    )
    write("schedule", rows, [], note)


if __name__ == "__main__":
    main()
