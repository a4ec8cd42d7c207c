"""The command line: `rd4ad train | evaluate | predict | export | score | bench | ...`.

Exit codes: 0 done, 1 failed on the data or the machine, 2 wrong usage. Torch is imported only by
the commands that need it.
"""

import argparse
import errno
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import rd4ad
from rd4ad.catalogue import METHODS
from rd4ad.config import ENGINES, Stop, TrainingConfig
from rd4ad.data.novelty import NORMALISATIONS, NOVELTY_SETS, PROTOCOL
from rd4ad.scoring import FUSIONS, Scoring

if TYPE_CHECKING:
    from rd4ad.detector import Detector

Command = Callable[[argparse.Namespace], int]
MANY_CELLS = 200
_OPTIONAL = ("torch", "torchvision")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     main(["results", "index", "--results", folder])
    indexed 0 runs, 0 figures; 0 broken runs skipped
    0

    Args:
        arguments: the command line without the program's name; `sys.argv`'s by default.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    command: Command = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        print("\nstopped; what was complete is kept", file=sys.stderr)
        return 1
    except UsageError as error:
        print(f"rd4ad: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"rd4ad: {_explained(error, options)}", file=sys.stderr)
        return 1
    except ValueError as error:
        print(f"rd4ad: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in _OPTIONAL:
            raise
        text = f"this takes {error.name}, which is not installed: pip install -r requirements.txt"
        print(f"rd4ad: {text}", file=sys.stderr)
        return 1


class UsageError(Exception):
    """An option's value that argparse itself cannot judge."""


def _explained(error: OSError, options: argparse.Namespace) -> str:
    """Return the message; of a failed write also where it was, which a full disk does not say."""
    is_short_write = type(error) is OSError and error.errno is None  # NumPy's and tifffile's
    if not is_short_write and error.errno not in _NO_ROOM:
        return str(error)
    names = ("out", "results", "folder")
    place = next((getattr(options, name) for name in names if hasattr(options, name)), "the file")
    return (
        f"cannot write {place}: {error}; nothing half-written stays, so make room or name another "
        "place, and run this again"
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line.

    >>> build_parser().parse_args(["serve", "--port", "8000"]).port
    8000
    """
    parser = argparse.ArgumentParser(prog="rd4ad", description=rd4ad.__doc__.split("\n")[0])
    parser.add_argument("--version", action="version", version=rd4ad.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(commands)
    _add_evaluate(commands)
    _add_predict(commands)
    _add_novelty(commands)
    _add_sweep(commands)
    _add_export(commands)
    _add_score(commands)
    _add_bench(commands)
    _add_data(commands)
    _add_results(commands)
    _add_serve(commands)
    _add_report(commands)
    return parser


def _add(commands: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def _add_category(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="folder of categories")
    parser.add_argument("--category", required=True, help="category, a folder below --data")


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, help="teacher's weight file, or a folder with it")
    parser.add_argument("--device", default="cpu", help="torch device, e.g. cpu or cuda")


def _add_engine(parser: argparse.ArgumentParser) -> None:
    _add_device(parser)
    text = "what runs the networks (default: onnx on the cpu, where the method has a graph)"
    parser.add_argument("--engine", choices=ENGINES, help=text)


def _load(options: argparse.Namespace) -> "Detector":
    from rd4ad.detector import Detector

    if options.device != "cpu":
        if options.engine == "onnx":
            raise UsageError("--engine onnx runs on the cpu: leave one of it and --device out")
        _check_device(options.device)
    return Detector.load(
        options.checkpoint, weights=options.weights, engine=options.engine, device=options.device
    )


def _add_train(commands: Any) -> None:
    parser = _add(commands, "train", _train, "Train a detector on a category's normal images.")
    _add_category(parser)
    parser.add_argument("--out", type=Path, required=True, help="checkpoint to write, .safetensors")
    _add_device(parser)
    parser.add_argument("--cache-mib", type=int, default=4096, help="memory for teacher features")
    parser.add_argument("--half", action="store_true", help="store float16, half the size")
    text = "end with the last epoch that fits into so many minutes"
    parser.add_argument("--budget-minutes", type=float, help=text)
    text = "end once so many epochs brought no lower loss of held-out normal images"
    parser.add_argument("--patience", type=int, help=text)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    add_config_options(parser)


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add one option a field of `TrainingConfig`, described by that class's own docstring.

    >>> parser = argparse.ArgumentParser()
    >>> add_config_options(parser)
    >>> parser.parse_args(["--layers", "2+3"]).layers
    (2, 3)
    """
    described = dict(re.findall(r"^ {8}(\w+): (.+)$", TrainingConfig.__doc__ or "", re.MULTILINE))
    kinds = get_type_hints(TrainingConfig)
    for field in fields(TrainingConfig):
        assert field.default is not MISSING
        own = " (default: the method's own)" if field.default is None else ""
        kind = next(kind for kind in (*get_args(kinds[field.name]), kinds[field.name]) if kind)
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=_layers if field.name == "layers" else kind,
            default=field.default if field.default is not None else argparse.SUPPRESS,
            help=described[field.name].replace("%", "%%") + own,
        )


def _layers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.split(r"[+,]", text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected e.g. 1+2+3 or 3, got {text!r}") from error


def _train(options: argparse.Namespace) -> int:
    from rd4ad.checkpoint import checked_name
    from rd4ad.training import train

    _check_device(options.device)
    try:
        names = [field.name for field in fields(TrainingConfig)]
        config = TrainingConfig(**{n: getattr(options, n) for n in names if hasattr(options, n)})
        checked_name(options.out, ".safetensors")
        stop = Stop(budget_minutes=options.budget_minutes, patience=options.patience)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if options.out.is_dir():
        raise UsageError(f"--out {options.out} is a folder: name a file in it, .safetensors")
    with _Bars() as bars:
        detector = train(
            options.data,
            options.category,
            config,
            out=options.out,
            weights=options.weights,
            device=options.device,
            cache_mib=options.cache_mib,
            half=options.half,
            skip_bad=options.skip_bad,
            stop=None if stop == Stop() else stop,
            on_progress=bars.training,
        )
    _print_skipped(detector.config["skipped"])
    threshold = detector.calibration.threshold if detector.calibration else None
    outcome = {"checkpoint": str(options.out), "threshold": threshold} | detector.config
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
    else:
        print("no threshold: every normal image was trained on (--holdout 0)")
    return 0


def _check_device(name: str) -> None:
    import torch

    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:  # no such kind; a build without it
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here ({reason}): try cpu") from error


def _print_skipped(problems: Sequence[str]) -> None:
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)


def _add_evaluate(commands: Any) -> None:
    text = "Measure a checkpoint on a category's test images and store the run."
    parser = _add(commands, "evaluate", _evaluate, text)
    parser.add_argument("checkpoint", type=Path, help="checkpoint that train wrote")
    _add_category(parser)
    parser.add_argument("--dataset", help="name of the data set for the record (default: folder's)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    _add_engine(parser)
    text = "store the masks too, where their licence allows it: scores again without images"
    parser.add_argument("--keep-masks", action="store_true", help=text)
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _evaluate(options: argparse.Namespace) -> int:
    from rd4ad.evaluation import evaluate

    detector = _load(options)
    with _Bars() as bars:
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
    _print_skipped(run.record["skipped"])
    _print_figures(run.metrics[run.metrics.is_default].to_dict("records"), options.json)
    if not options.json:
        print(f"stored {run.path}")
    return 0


def _add_predict(commands: Any) -> None:
    text = "Score images: overlay PNG, raw map (float32 TIFF) and scores.csv."
    parser = _add(commands, "predict", _predict, text)
    parser.add_argument("checkpoint", type=Path, help="checkpoint that train wrote")
    parser.add_argument("images", type=Path, nargs="+", help="image files or folders (recursive)")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    _add_engine(parser)
    parser.add_argument("--opacity", type=float, default=0.75, help="of the heatmap, 0 to 1")
    parser.add_argument("--skip-bad", action="store_true", help="leave unreadable images out")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")


def _predict(options: argparse.Namespace) -> int:
    from rd4ad.inference import predict_files

    if not 0 <= options.opacity <= 1:
        raise UsageError(f"--opacity must lie in [0, 1]; got {options.opacity}")
    detector = _load(options)
    with _Bars() as bars:
        rows = predict_files(
            detector,
            options.images,
            options.out,
            opacity=options.opacity,
            skip_bad=options.skip_bad,
            on_progress=bars.counted,
        )
    skipped = [row["problem"] for row in rows if row["problem"]]
    _print_skipped(skipped)
    if options.json:
        print(json.dumps(rows))
    else:
        n_images = len(rows) - len(skipped)
        print(f"{n_images} images; scores, maps and overlays in {options.out}")
    return 0


def _add_novelty(commands: Any) -> None:
    text = "Train on one class of a data set as normal, test against all; resumable."
    parser = _add(commands, "novelty", _novelty, text)
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets")
    parser.add_argument("--dataset", choices=list(NOVELTY_SETS), required=True, help="data set")
    parser.add_argument("--normal", required=True, help="class, several as 1,8, or all")
    parser.add_argument("--download", action="store_true", help="fetch the data set if need be")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    text = "of images (default: the released code's for the data set)"
    parser.add_argument("--normalisation", choices=NORMALISATIONS, default="", help=text)
    parser.add_argument("--n-train", type=int, default=0, help="so many training images; 0: all")
    parser.add_argument("--n-test", type=int, default=0, help="so many test images; 0: all")
    text = "keep detectors in this folder; needs --normalisation imagenet"
    parser.add_argument("--detectors", type=Path, help=text)
    _add_device(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    add_config_options(parser)
    parser.set_defaults(**PROTOCOL)


def _novelty(options: argparse.Namespace) -> int:
    from rd4ad.novelty import Protocol, measure

    _check_device(options.device)
    names = [field.name for field in fields(TrainingConfig)]
    try:
        config = TrainingConfig(**{n: getattr(options, n) for n in names if hasattr(options, n)})
        protocol = Protocol(
            dataset=options.dataset,
            config=config,
            normalisation=options.normalisation,
            n_train=options.n_train,
            n_test=options.n_test,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    every = NOVELTY_SETS[options.dataset].classes
    classes = every if options.normal == "all" else tuple(options.normal.split(","))
    with _Bars() as bars:
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
    """Says a class's figure as it is measured, and how long those to come will take."""

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


def _add_sweep(commands: Any) -> None:
    text = (
        "Train and evaluate every cell of a grid, each once; resumable, on any number of machines."
    )
    parser = _add(commands, "sweep", _sweep, text)
    parser.add_argument("grid", type=Path, help="grid in YAML: category, backbone, seed, ...")
    parser.add_argument("--data", type=Path, required=True, help="folder of categories")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--weights", type=Path, help="teacher's weight file, or a folder with it")
    parser.add_argument(
        "--checkpoints", type=Path, help="folder that keeps every cell's checkpoint"
    )
    parser.add_argument("--workers", type=int, help="cells at once (default: as many as fit)")
    parser.add_argument("--threads", type=int, default=1, help="of a cell")
    text = "the i-th of n equal parts of the grid, for n machines with one results folder"
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help=text)
    parser.add_argument("--retry-failed", action="store_true", help="also those that failed before")
    parser.add_argument("--dry-run", action="store_true", help="only say what there is to do")
    text = f"start more than {MANY_CELLS} cells without being asked"
    parser.add_argument("--yes", action="store_true", help=text)


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {text!r}")
    return int(found[1]), int(found[2])


def _sweep(options: argparse.Namespace) -> int:
    from rd4ad import sweep
    from rd4ad.grid import GridError, read_grid

    try:
        grid = read_grid(options.grid)
    except GridError as error:
        raise UsageError(str(error)) from error
    if options.threads < 1 or (options.workers is not None and options.workers < 1):
        raise UsageError("--threads and --workers must be 1 or more")
    study = sweep.Study(
        data=options.data,
        results=options.results,
        dataset=grid.dataset or options.data.resolve().name,
        weights=options.weights,
        n_threads=options.threads,
        checkpoints=options.checkpoints,
    )
    tasks = sweep.shard(sweep.planned(grid.cells, study), *options.shard)
    left = [task for task in tasks if not task.is_done(study)]
    fresh = [task for task in left if not task.has_failed(study)]
    todo = left if options.retry_failed else fresh
    n_workers = options.workers or sweep.workers_for(study)
    print(
        f"{len(tasks)} cells: {len(tasks) - len(left)} done, {len(left) - len(fresh)} failed before"
    )
    print(f"{len(todo)} to do, {sweep.estimate(todo, study).told(n_workers)}")
    if options.dry_run:
        for task in tasks:
            print(f"  {task.state(study):<8} {task.run_id}")
        return 0
    if len(todo) > MANY_CELLS and not options.yes:
        raise UsageError(f"more than {MANY_CELLS} cells: say --yes, or --dry-run to see them first")
    (options.results / ".sweep").mkdir(parents=True, exist_ok=True)  # what cannot be is told now
    ended: dict[str, list[Any]] = {"done": [], "failed": [], "elsewhere": []}
    with _Bars() as bars:
        bars.counted("cells", 0, len(todo))
        for outcome in sweep.locally(todo, study, n_workers):
            ended[outcome.state].append(outcome)
            bars.counted("cells", sum(map(len, ended.values())), len(todo))
    for outcome in ended["failed"]:
        place = outcome.task.place(study)
        print(f"failed: {outcome.task.run_id}: {outcome.reason} (see {place})", file=sys.stderr)
    print(", ".join(f"{len(them)} {state}" for state, them in ended.items()))
    return int(bool(ended["failed"]))


def _add_export(commands: Any) -> None:
    text = "Write a checkpoint as one ONNX model, to be served without torch."
    parser = _add(commands, "export", _export, text)
    parser.add_argument("checkpoint", type=Path, help="checkpoint that train wrote")
    parser.add_argument("--out", type=Path, required=True, help="model to write, .onnx")
    parser.add_argument("--weights", type=Path, help="teacher's weight file, or a folder with it")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="kind of model")
    text = "8-bit integers, where the figures of --category below --data stay within 0.003"
    parser.add_argument("--int8", action="store_true", help=text)
    parser.add_argument("--data", type=Path, help="of --int8: folder of categories")
    parser.add_argument("--category", help="of --int8: the one that the detector was trained on")
    own: dict[str, Any] = {"default": argparse.SUPPRESS}  # another scoring has no threshold
    text = "layers fused, e.g. 2+3; any other scoring than the checkpoint's carries no threshold"
    parser.add_argument("--layers", type=_layers, help=text, **own)
    parser.add_argument("--fusion", choices=FUSIONS, help="of the upsampled maps", **own)
    parser.add_argument("--sigma-px", type=float, help="smoothing of the map in pixels", **own)
    parser.add_argument("--score", choices=("max", "sum"), help="of the map", **own)


def _export(options: argparse.Namespace) -> int:
    from rd4ad.export import export_onnx

    names = [field.name for field in fields(Scoring) if hasattr(options, field.name)]
    changes = {name: getattr(options, name) for name in names}
    try:
        Scoring(**changes)
    except ValueError as error:
        raise UsageError(str(error)) from error
    where = {"weights": options.weights} | changes
    if options.int8:
        from rd4ad.quantisation import export_int8

        if not (options.data and options.category):
            raise UsageError("--int8 is judged by --category below --data: name both")
        rows = export_int8(options.checkpoint, options.out, options.data, options.category, **where)
        for row in rows:
            print(f"{row['metric']:<12} float32 {row['float32']:.4f}  int8 {row['int8']:.4f}")
    else:
        export_onnx(options.checkpoint, options.out, **where)
    print(f"wrote {options.out} ({options.out.stat().st_size / 2**20:.1f} MiB)")
    return 0


def _add_score(commands: Any) -> None:
    text = "Figures for anomaly maps that any program wrote (TIFF or NPY)."
    parser = _add(commands, "score", _score, text)
    parser.add_argument(
        "--maps", type=Path, required=True, help="folder with <type>/<stem>.tiff or .npy"
    )
    _add_category(parser)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def _score(options: argparse.Namespace) -> int:
    from rd4ad.evaluation import score_maps

    with _Bars() as bars:
        figures = score_maps(options.maps, options.data, options.category, on_progress=bars.counted)
    _print_figures(figures, options.json)
    return 0


def _add_bench(commands: Any) -> None:
    text = "Measure what the methods cost on this host: time, memory, disk, fit."
    parser = _add(commands, "bench", _bench, text)
    own: dict[str, Any] = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument(
        "--methods", default=list(METHODS), help="names; RD4AD is what others compare with", **own
    )
    parser.add_argument("--backbone", default=["resnet18"], help="one or several", **own)
    parser.add_argument("--size-px", type=int, nargs="+", default=[256], help="one or several")
    parser.add_argument("--rounds", type=int, default=24, help="images that every method judges")
    parser.add_argument("--threads", type=int, help="of a process (default: torch's own choice)")
    parser.add_argument("--data", type=Path, help="folder of categories (default: generated parts)")
    parser.add_argument("--category", help="a folder below --data, whose normal images are fitted")
    parser.add_argument("--images", type=int, default=200, help="normal images, if generated")
    text = "folder of checkpoints whose trainings' seconds count instead of extrapolated ones"
    parser.add_argument("--checkpoints", type=Path, help=text)
    parser.add_argument("--results", type=Path, default=Path("results"), help="runs, for quality")
    text = "record to write; the explorer shows bench/methods*.json of its results folder"
    parser.add_argument("--out", type=Path, default=Path("results/bench/methods.json"), help=text)
    parser.add_argument("--json", action="store_true", help="print the record as JSON")


def _bench(options: argparse.Namespace) -> int:
    from rd4ad.benchmark import Plan, benchmark, cases_of

    try:
        cases = cases_of(options.methods, options.backbone, options.size_px)
        plan = Plan(
            rounds=options.rounds,
            n_threads=options.threads,
            data=options.data,
            category=options.category,
            n_images=options.images,
            checkpoints=options.checkpoints,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
    with _Bars() as bars:
        record = benchmark(
            cases, options.out, plan, results=options.results, on_progress=bars.counted
        )
    if options.json:
        print(json.dumps(record))
        return 0
    print(f"{record['host']}. {record['note']}")
    for row in record["rows"]:
        ratio = (
            "no ratio" if row["seconds_ratio"] is None else f"{row['seconds_ratio']:.2f} x RD4AD"
        )
        print(
            f"{row['method']:<21} {row['backbone']:<16} {row['size_px']:>4} px  {ratio:<13} "
            f"{row['seconds_per_image']:.3f} s an image, {row['memory_mb']} MB, "
            f"{row['disk_mb']} MB on disk, fit {row['fit_seconds']} s ({row['fit']})"
        )
    print(f"wrote {options.out}")
    return 0


def _add_data(commands: Any) -> None:
    text = "Check a data set, or make the generated parts."
    parser = commands.add_parser("data", help=text, description=text)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = _add(actions, "check", _check, "Name every problem of a data set in MVTec layout.")
    check.add_argument("folder", type=Path, help="folder of categories")
    check.add_argument("--json", action="store_true", help="print the problems as JSON")
    make = _add(actions, "make", _make, "Write the generated parts in MVTec layout.")
    make.add_argument("folder", type=Path, help="folder to write categories into")
    make.add_argument("--seed", type=int, default=0, help="of everything generated")
    make.add_argument("--train", type=int, default=200, help="normal training images a category")


def _check(options: argparse.Namespace) -> int:
    from rd4ad.data.checks import check_dataset, render_problems

    problems = check_dataset(options.folder)
    if options.json:
        print(json.dumps([problem.to_dict() for problem in problems]))
    else:
        print(render_problems(problems))
    return int(any(problem.severity == "error" for problem in problems))


def _make(options: argparse.Namespace) -> int:
    from rd4ad.data.parts import write_parts

    if options.train < 2 or options.seed < 0:
        raise UsageError("--train must be 2 or more, --seed 0 or more")
    with _Bars() as bars:
        write_parts(options.folder, seed=options.seed, n_train=options.train, progress=bars.counted)
    print(f"wrote the generated parts to {options.folder}")
    return 0


def _add_results(commands: Any) -> None:
    text = "Index the stored runs, or show their figures."
    parser = commands.add_parser("results", help=text, description=text)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    index = _add(actions, "index", _index, "Rebuild results/index.parquet from the run folders.")
    show = _add(actions, "show", _show, "Print the figures of the indexed runs.")
    text = "Give runs that were stored without confidence intervals theirs; no figure changes."
    intervals = _add(actions, "intervals", _intervals, text)
    intervals.add_argument("runs", type=Path, nargs="+", help="run folders")
    text = "folder of categories, for the masks of runs that do not keep them"
    intervals.add_argument("--data", type=Path, default=Path("data"), help=text)
    text = "Copy the runs of other results folders into one: the same once, none over another."
    merging = _add(actions, "merge", _merge, text)
    merging.add_argument("sources", type=Path, nargs="+", help="results folders to copy from")
    merging.add_argument("--into", type=Path, required=True, help="results folder to copy into")
    for action in (index, show):
        action.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    show.add_argument("--json", action="store_true", help="print the figures as JSON")


def _index(options: argparse.Namespace) -> int:
    from rd4ad.index import rebuild_index

    index, broken = rebuild_index(options.results)
    for run in broken:
        print(f"skipped {run.path}: {run.reason}", file=sys.stderr)
    n_runs = index.run_id.nunique()
    print(f"indexed {n_runs} runs, {len(index)} figures; {len(broken)} broken runs skipped")
    return 0


def _merge(options: argparse.Namespace) -> int:
    from rd4ad.merging import merge

    merged = merge(options.sources, options.into)
    for run in merged.broken:
        print(f"skipped {run.path}: {run.reason}", file=sys.stderr)
    for source, target in merged.refused:
        print(f"refused {source}: {target} has other figures under the same id", file=sys.stderr)
    print(
        f"{len(merged.added)} runs added to {options.into}, {len(merged.identical)} were there, "
        f"{len(merged.refused)} refused; `rd4ad results index` lists them"
    )
    return int(bool(merged.refused or merged.broken))


def _intervals(options: argparse.Namespace) -> int:
    from rd4ad.comparison import add_intervals
    from rd4ad.scoring import anomaly_maps
    from rd4ad.store import read_run
    from rd4ad.web.lab import own_scoring
    from rd4ad.web.pictures import masks_of

    for path in options.runs:
        run = read_run(path.resolve())
        maps = anomaly_maps(run.distances(), own_scoring(run), run.record["size_px"])
        masks = masks_of(run, list(run.images()["image"]), options.data)
        n = int(add_intervals(run, maps, masks).metrics["ci_low"].notna().sum())
        print(f"{path}: {n} figures have intervals; `rd4ad results index` lists them")
    return 0


def _show(options: argparse.Namespace) -> int:
    from rd4ad.index import read_index

    index = read_index(options.results)
    chosen = index[index.is_default]
    if options.json:
        print(chosen.to_json(orient="records"))
        return 0
    if chosen.empty:
        print(f"no run in the index of {options.results}: `rd4ad evaluate` stores one")
        return 0
    table = chosen.pivot(index="run_id", columns="metric", values="value") * 100
    print("percent, at each run's own layers, fusion and smoothing; - where undefined")
    print(table.round(1).to_string(na_rep="-"))
    return 0


def _add_serve(commands: Any) -> None:
    parser = _add(commands, "serve", _serve, "Open the explorer on one port.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on")


def _serve(options: argparse.Namespace) -> int:
    from rd4ad.web.serve import serve

    serve(host=options.host, port=options.port)
    return 0


def _add_report(commands: Any) -> None:
    parser = _add(commands, "report", _report, "Write the results as static HTML pages.")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")


def _report(options: argparse.Namespace) -> int:
    from rd4ad.web.report import write_report

    pages = write_report(options.results, options.out)
    print(f"wrote {len(pages)} pages; open {pages[0]}")
    return 0


def _print_figures(rows: Sequence[Mapping[Any, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps([{k: None if v != v else v for k, v in row.items()} for row in rows]))
        return
    for row in rows:
        value = f"{row['value']:.4f}" if row["value"] == row["value"] else f"- ({row['reason']})"
        print(f"{row['metric']:<16} {row['definition']:<22} {value}")


class _Bars:
    """Progress bars on standard error, one a stage."""

    def __enter__(self) -> "_Bars":
        self.bar: Any = None
        self.stage = ""
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def counted(self, stage: str, done: int, total: int) -> None:
        from tqdm import tqdm

        if stage != self.stage:
            self.__exit__()
            unit = "cell" if stage == "cells" else "image"
            self.bar, self.stage = tqdm(total=total, desc=stage, unit=unit), stage
        self.bar.update(done - self.bar.n)

    def training(self, progress: Any) -> None:
        self.counted(progress.stage, progress.done, progress.total)
        if progress.loss == progress.loss:
            self.bar.set_postfix(loss=f"{progress.loss:.4f}", refresh=False)


def entry() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(main())


if __name__ == "__main__":
    entry()
