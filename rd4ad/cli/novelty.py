"""`rd4ad novelty`: one class of images as the normal one."""

import argparse
import json
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from rd4ad.cli.command import Bars, UsageError, add_command
from rd4ad.cli.options import add_config_options, add_device, check_device
from rd4ad.config import TrainingConfig
from rd4ad.data.one_class import NORMALIZATIONS, NOVELTY_SETS, PROTOCOL


def add_novelty(commands: Any) -> None:
    """Add `rd4ad novelty` to the command line."""
    text = "Train on one class of a dataset as normal, test against all; resumable."
    parser = add_command(commands, "novelty", _novelty, text)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets")
    parser.add_argument("--dataset", choices=list(NOVELTY_SETS), required=True, help="dataset")
    parser.add_argument("--normal", required=True, help="class, several as 1,8, or all")
    parser.add_argument(
        "--download", action="store_true", help="download the dataset if it is missing"
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    text = "of images (default: the released code's for the dataset)"
    parser.add_argument("--normalization", choices=NORMALIZATIONS, default="", help=text)
    parser.add_argument("--n-train", type=int, default=0, help="number of training images; 0: all")
    parser.add_argument("--n-test", type=int, default=0, help="number of test images; 0: all")
    text = "also store detectors in this folder; needs --normalization imagenet"
    parser.add_argument("--detectors", type=Path, help=text)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    add_config_options(parser)
    parser.set_defaults(**PROTOCOL)


def _novelty(options: argparse.Namespace) -> int:
    from rd4ad.evaluation.one_class import Protocol, measure

    check_device(options.device)
    names = [field.name for field in fields(TrainingConfig)]
    try:
        config = TrainingConfig(**{n: getattr(options, n) for n in names if hasattr(options, n)})
        protocol = Protocol(
            dataset=options.dataset,
            config=config,
            normalization=options.normalization,
            n_train=options.n_train,
            n_test=options.n_test,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    every = NOVELTY_SETS[options.dataset].classes
    classes = every if options.normal == "all" else tuple(options.normal.split(","))
    with Bars() as bars:
        runs = measure(
            protocol,
            classes,
            data=options.data,
            results=options.results,
            weights=options.weights,
            device=options.device,
            download=options.download,
            detectors=options.detectors,
            on_progress=bars.training,
            on_run=_Announcer(len(classes), is_silent=options.json),
        )
    rows = [
        {"class": run.record["category"], **row}
        for run in runs
        for row in run.metrics[run.metrics.is_default].to_dict("records")
        if row["value"] == row["value"]
    ]
    if options.json:
        print(json.dumps(rows))
    else:
        found = [row["value"] for row in rows if row["metric"] == "image_auroc"]
        print(f"mean over {len(found)} classes: {sum(found) / len(found):.4f}")
    return 0


class _Announcer:
    """Says a class's metric as it is measured, and how long those to come will take."""

    def __init__(self, n_classes: int, is_silent: bool) -> None:
        self.n_classes, self.is_silent = n_classes, is_silent
        self.n_done, self.n_new, self.began = 0, 0, time.monotonic()

    def __call__(self, run: Any, is_new: bool) -> None:
        self.n_done += 1
        self.n_new += is_new
        if self.is_silent:
            return
        own = run.metrics[run.metrics.is_default].set_index("metric")["value"]
        each = (time.monotonic() - self.began) / max(self.n_new, 1)
        left = (self.n_classes - self.n_done) * each / 60
        origin = f"about {left:.0f} min left" if is_new else "stored before"
        print(
            f"{run.record['category']}: image AUROC {own['image_auroc']:.4f} "
            f"({self.n_done} of {self.n_classes} classes, {origin})",
            flush=True,
        )
