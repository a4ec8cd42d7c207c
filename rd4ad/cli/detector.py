"""`rd4ad train`, `evaluate`, `predict` and `export`: a detector and what it says."""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from rd4ad.cli.command import Bars, UsageError, add_command
from rd4ad.cli.options import (
    add_category,
    add_config_options,
    add_device,
    add_engine,
    categories_in,
    check_device,
    layers,
    loaded,
    print_metrics,
    print_skipped,
)
from rd4ad.config import OVERLAY_PX, OVERLAYS, Stop, TrainingConfig
from rd4ad.inference.stored_weights import STORES
from rd4ad.scoring import FUSIONS, Scoring

AUTO = "auto"
"""Instead of a precision: the quickest that is right on this processor."""


def add_train(commands: Any) -> None:
    """Add `rd4ad train` to the command line."""
    parser = add_command(
        commands, "train", _train, "Train a detector on a category's normal images."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of categories")
    text = "category, a folder below --data; or several, a,b,c or all, for one model of them all"
    parser.add_argument("--category", required=True, help=text)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write, .safetensors")
    add_device(parser)
    parser.add_argument("--cache-mib", type=int, default=4096, help="memory for teacher features")
    parser.add_argument(
        "--store", choices=STORES, default="float32", help="precision of the stored weights"
    )
    text = "stop after the last epoch that fits into this many minutes"
    parser.add_argument("--budget-minutes", type=float, help=text)
    text = "stop when the loss of held-out normal images has not fallen for this many epochs"
    parser.add_argument("--patience", type=int, help=text)
    parser.add_argument(
        "--skip-bad", action="store_true", help="skip unreadable images instead of stopping"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_config_options(parser)


def _train(options: argparse.Namespace) -> int:
    from rd4ad.inference.checkpoint import checked_name
    from rd4ad.training.category import train

    check_device(options.device)
    if options.precision == AUTO:
        from rd4ad.training.precision import chosen_precision

        options.precision = chosen_precision(options.out, options.device)
    try:
        names = [field.name for field in fields(TrainingConfig)]
        config = TrainingConfig(**{n: getattr(options, n) for n in names if hasattr(options, n)})
        checked_name(options.out, ".safetensors")
        stop = Stop(budget_minutes=options.budget_minutes, patience=options.patience)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.out.is_dir():
        raise UsageError(f"--out {options.out} is a folder: name a file in it, .safetensors")
    categories = categories_in(options)
    if not categories:
        raise UsageError(f"--category {options.category!r} names none")
    with Bars() as bars:
        detector = train(
            options.data,
            categories[0] if len(categories) == 1 else categories,
            config,
            out=options.out,
            weights=options.weights,
            device=options.device,
            cache_mib=options.cache_mib,
            store=options.store,
            skip_bad=options.skip_bad,
            stop=None if stop == Stop() else stop,
            on_progress=bars.training,
        )
    print_skipped(detector.config["skipped"])
    threshold = detector.calibration.threshold if detector.calibration else None
    thresholds = {name: one.threshold for name, one in detector.calibrations.items()}
    outcome = {"checkpoint": str(options.out), "threshold": threshold} | detector.config
    if thresholds:
        outcome["thresholds"] = thresholds
    if options.json:
        print(json.dumps(outcome))
        return 0
    loss = outcome["final_loss"]
    took = "" if loss is None else f"loss {loss:.4f}, "
    if "epochs_done" in outcome:
        took = f"{outcome['epochs_done']} of {outcome['epochs']} epochs, {took}"
    print(f"wrote {options.out} ({took}{outcome['seconds']:.0f} s)")
    if detector.calibration:
        n = len(detector.calibration.scores)
        print(f"threshold {threshold:.3f}: {config.quantile:g} quantile of {n} held-out normals")
    elif thresholds:
        said = ", ".join(f"{name} {value:.3f}" for name, value in thresholds.items())
        print(f"thresholds: {said} ({config.quantile:g} quantiles of held-out normals)")
    else:
        print("no threshold: every normal image was trained on (--holdout 0)")
    return 0


def add_evaluate(commands: Any) -> None:
    """Add `rd4ad evaluate` to the command line."""
    text = "Measure a checkpoint on a category's test images and store the run."
    parser = add_command(commands, "evaluate", _evaluate, text)
    parser.add_argument("checkpoint", type=Path, help="checkpoint that train wrote")
    add_category(parser)
    parser.add_argument("--dataset", help="name of the dataset for the record (default: folder's)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    add_engine(parser)
    text = (
        "also store the masks, where their license allows it, so that metrics can be recomputed "
        "without images"
    )
    parser.add_argument("--keep-masks", action="store_true", help=text)
    parser.add_argument(
        "--skip-bad", action="store_true", help="skip unreadable images instead of stopping"
    )
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def _evaluate(options: argparse.Namespace) -> int:
    from rd4ad.evaluation.category import evaluate

    detector = loaded(options)
    with Bars() as bars:
        run = evaluate(
            detector,
            options.data,
            options.category,
            dataset=options.dataset,
            results=options.results,
            keep_masks=options.keep_masks,
            skip_bad=options.skip_bad,
            on_progress=bars.counted,
        )
    print_skipped(run.record["skipped"])
    print_metrics(run.metrics[run.metrics.is_default].to_dict("records"), options.json)
    if not options.json:
        print(f"stored {run.path}")
    return 0


def add_predict(commands: Any) -> None:
    """Add `rd4ad predict` to the command line."""
    text = "Score images: overlay, raw map (float32 TIFF) and scores.csv."
    parser = add_command(commands, "predict", _predict, text)
    parser.add_argument("checkpoint", type=Path, help="checkpoint that train wrote")
    parser.add_argument("images", type=Path, nargs="+", help="image files or folders (recursive)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    add_engine(parser)
    text = "which overlays to write: of all as JPEG or PNG, of defective ones as JPEG, or none"
    parser.add_argument("--overlays", choices=OVERLAYS, default="jpeg", help=text)
    text = "whose threshold counts, where the detector was trained on several categories"
    parser.add_argument("--category", help=text)
    text = "longer side of an overlay at most"
    parser.add_argument("--overlay-px", type=int, default=OVERLAY_PX, help=text)
    parser.add_argument("--opacity", type=float, default=0.75, help="of the heatmap, 0 to 1")
    parser.add_argument(
        "--skip-bad", action="store_true", help="skip unreadable images instead of stopping"
    )
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def _predict(options: argparse.Namespace) -> int:
    from rd4ad.inference.predict_files import predict_to_folder

    if not 0 <= options.opacity <= 1:
        raise UsageError(f"--opacity must lie in [0, 1]; got {options.opacity}")
    if options.overlay_px < 32:
        raise UsageError(f"--overlay-px must be 32 or more; got {options.overlay_px}")
    detector = loaded(options)
    if options.category:
        detector = detector.of_category(options.category)
    with Bars() as bars:
        rows = predict_to_folder(
            detector,
            options.images,
            options.out,
            overlays=options.overlays,
            overlay_px=options.overlay_px,
            opacity=options.opacity,
            skip_bad=options.skip_bad,
            on_progress=bars.counted,
        )
    skipped = [row["problem"] for row in rows if row["problem"]]
    print_skipped(skipped)
    if options.json:
        print(json.dumps(rows))
    else:
        n_images = len(rows) - len(skipped)
        drawn = "" if options.overlays == "none" else " and overlays"
        print(f"{n_images} images; scores, maps{drawn} in {options.out}")
    return 0


def add_export(commands: Any) -> None:
    """Add `rd4ad export` to the command line."""
    text = "Write a checkpoint as one ONNX model, to be served without torch."
    parser = add_command(commands, "export", _export, text)
    parser.add_argument("checkpoint", type=Path, help="checkpoint that train wrote")
    text = "model to write: .onnx, or .xml of OpenVINO with its weights next to it"
    parser.add_argument("--out", type=Path, required=True, help=text)
    parser.add_argument("--weights", type=Path, help="teacher's weight file, or a folder with it")
    parser.add_argument(
        "--format", choices=("onnx", "openvino"), default="onnx", help="kind of model"
    )
    lower = parser.add_mutually_exclusive_group()
    text = "8-bit integers, refused unless all metrics of --category in --data stay within 0.003"
    lower.add_argument("--int8", action="store_true", help=text)
    text = (
        "a checkpoint that computes in float16 on a GPU, refused unless all metrics stay within "
        "0.003"
    )
    lower.add_argument("--float16", action="store_true", help=text)
    parser.add_argument("--device", default="cpu", help="torch device for --float16, e.g. cuda")
    parser.add_argument(
        "--data", type=Path, help="folder of categories on which --int8 or --float16 is checked"
    )
    parser.add_argument("--category", help="category that the detector was trained on")
    own: dict[str, Any] = {"default": argparse.SUPPRESS}  # another scoring has no threshold
    text = "layers fused, e.g. 2+3; any other scoring than the checkpoint's carries no threshold"
    parser.add_argument("--layers", type=layers, help=text, **own)
    parser.add_argument("--fusion", choices=FUSIONS, help="of the upsampled maps", **own)
    parser.add_argument("--sigma-px", type=float, help="smoothing of the map in pixels", **own)
    parser.add_argument("--score", choices=("max", "sum"), help="of the map", **own)


def _export(options: argparse.Namespace) -> int:
    from rd4ad.export.onnx_file import export_onnx, export_openvino

    names = [field.name for field in fields(Scoring) if hasattr(options, field.name)]
    changes = {name: getattr(options, name) for name in names}
    try:
        Scoring(**changes)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.device != "cpu" and not options.float16:
        raise UsageError("--device is of --float16: other models are written without one")
    if options.int8 or options.float16:
        for row in _export_lower(options, changes):
            metrics = (
                f"{key} {row[key]:.4f}" for key in row if key not in ("metric", "difference")
            )
            print(f"{row['metric']:<12}", *metrics, sep="  ")
    else:
        write = {"onnx": export_onnx, "openvino": export_openvino}[options.format]
        write(options.checkpoint, options.out, weights=options.weights, **changes)
    print(f"wrote {options.out} ({options.out.stat().st_size / 2**20:.1f} MiB)")
    return 0


def _export_lower(options: argparse.Namespace, changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Write what judges as in float32, and return the metrics of both."""
    name = "--int8" if options.int8 else "--float16"
    if options.format != "onnx":
        raise UsageError(f"{name} has a format of its own: leave --format out")
    if not (options.data and options.category):
        raise UsageError(f"{name} is judged by --category below --data: name both")
    source = options.checkpoint, options.out, options.data, options.category
    if options.int8:
        from rd4ad.export.int8 import export_int8

        return export_int8(*source, weights=options.weights, **changes)
    from rd4ad.export.float16 import export_float16

    if changes:
        raise UsageError("--float16 keeps the checkpoint's own scoring: leave other options out")
    check_device(options.device)
    return export_float16(*source, weights=options.weights, device=options.device)
