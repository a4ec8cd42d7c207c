"""`rd4ad score`, `compare` and `bench`: metrics of maps, two runs, and what methods cost."""

import argparse
import json
from pathlib import Path
from typing import Any

from rd4ad.catalogue import METHODS
from rd4ad.cli.command import Bars, UsageError, add_command
from rd4ad.cli.options import add_category, print_metrics


def add_score(commands: Any) -> None:
    """Add `rd4ad score` to the command line."""
    text = "Measure anomaly maps written by any program, and store them as a run beside the others."
    parser = add_command(commands, "score", _score, text)
    parser.add_argument(
        "--maps", type=Path, required=True,
        help="folder with <type>/<stem>.tiff, .npy or .png, or an .npz file",
    )  # fmt: skip
    add_category(parser)
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")
    parser.add_argument("--store", action="store_true", help="store a run, marked as external")
    parser.add_argument("--method", default="", help="with --store: the method's name")
    text = "with --store: YAML with backbone, seed, source or note"
    parser.add_argument("--meta", type=Path, help=text)
    parser.add_argument(
        "--side", type=int, default=128, help="with --store: side of the stored maps, 64 or 128 px"
    )
    text = "with --store: name of the dataset (default: the data folder's)"
    parser.add_argument("--dataset", default="", help=text)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")


def _score(options: argparse.Namespace) -> int:
    from rd4ad.evaluation.external import score_maps, store_maps

    if not options.store:
        with Bars() as bars:
            metrics = score_maps(
                options.maps, options.data, options.category, on_progress=bars.counted
            )
        print_metrics(metrics, options.json)
        return 0
    if not options.method:
        raise UsageError("--store needs --method, the name of the method that wrote the maps")
    with Bars() as bars:
        stored = store_maps(
            options.maps, options.data, options.category, options.method, results=options.results,
            dataset=options.dataset, meta=_meta(options.meta), side=options.side,
            on_progress=bars.counted,
        )  # fmt: skip
    own = stored.run.metrics[stored.run.metrics["is_default"]]
    for row in own.dropna(subset="value").to_dict("records"):
        whole = stored.full_size[row["metric"]]
        print(f"{row['metric']:<16} {row['value']:.4f}  (maps as they came: {whole:.4f})")
    print(f"stored {stored.run.path}; `rd4ad results index` lists it")
    return 0


def _meta(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected keys and values, e.g. `backbone: vit_b`")
    return found


def add_compare(commands: Any) -> None:
    """Add `rd4ad compare` to the command line."""
    text = "Compare two stored runs on the same test images, with 95% intervals."
    parser = add_command(commands, "compare", _compare, text)
    text = "a run's id, or several of one setting with commas between them: their mean"
    parser.add_argument("first", metavar="RUN", help=text)
    parser.add_argument("second", metavar="RUN", help="what is subtracted, likewise")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--json", action="store_true", help="print the differences as JSON")


def _compare(options: argparse.Namespace) -> int:
    from rd4ad.runs.comparison import Difference, differences, mean_of, resample
    from rd4ad.runs.store import read_run

    names = [one.split(",") for one in (options.first, options.second)]
    runs = [[read_run(options.results / "runs" / name) for name in some] for some in names]
    found = differences(*(mean_of([resample(run) for run in some]) for some in runs))

    def row(one: Difference) -> dict[str, Any]:
        told = {"first": one.first, "second": one.second, "difference": one.difference}
        if one.reason:
            return told | {"reason": one.reason}
        interval = {"ci_low": one.ci_low, "ci_high": one.ci_high}
        return told | interval | {"is_distinguishable": one.is_distinguishable}

    rows = {metric: row(one) for metric, one in found.items() if one.first == one.first}
    if options.json:
        print(json.dumps(rows))
        return 0
    print(f"{'percent':<16}{'first':>8}{'second':>8}{'difference':>12}  95% interval")
    for metric, one in rows.items():
        values = "".join(f"{100 * one[name]:8.1f}" for name in ("first", "second"))
        said = one.get("reason", "")
        if not said:
            sure = "distinguishable" if one["is_distinguishable"] else "not distinguishable"
            said = f"[{100 * one['ci_low']:+.1f}, {100 * one['ci_high']:+.1f}] {sure}"
        print(f"{metric:<16}{values}{100 * one['difference']:+12.1f}  {said}")
    print("Intervals are over the choice of test images; the spread between seeds is another one.")
    return 0


def add_bench(commands: Any) -> None:
    """Add `rd4ad bench` to the command line."""
    text = "Measure the cost of the methods on this host: inference time, memory, disk, fit."
    parser = add_command(commands, "bench", _bench, text)
    own: dict[str, Any] = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument(
        "--methods", default=list(METHODS), help="methods to measure; ratios are to RD4AD", **own
    )
    parser.add_argument("--backbone", default=["resnet18"], help="one or several", **own)
    parser.add_argument("--size-px", type=int, nargs="+", default=[256], help="one or several")
    parser.add_argument("--rounds", type=int, default=24, help="images that each method judges")
    parser.add_argument("--threads", type=int, help="of a process (default: torch's own choice)")
    parser.add_argument("--data", type=Path, help="folder of categories (default: generated parts)")
    parser.add_argument("--category", help="a folder below --data, whose normal images are fitted")
    parser.add_argument("--images", type=int, default=200, help="normal images, if generated")
    text = "folder of checkpoints whose trainings' seconds count instead of extrapolated ones"
    parser.add_argument("--checkpoints", type=Path, help=text)
    text = "record to write; the explorer shows bench/methods*.json of its results folder"
    parser.add_argument("--out", type=Path, default=Path("results/bench/methods.json"), help=text)
    parser.add_argument("--json", action="store_true", help="print the record as JSON")


def _bench(options: argparse.Namespace) -> int:
    from rd4ad.benchmark.rounds import Plan, benchmark, cases_of

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
    with Bars() as bars:
        record = benchmark(cases, options.out, plan, on_progress=bars.counted)
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
            f"{row['seconds_per_image']:.3f} s per image, {row['memory_mb']} MB, "
            f"{row['disk_mb']} MB on disk, fit {row['fit_seconds']} s ({row['fit']})"
        )
    print(f"wrote {options.out}")
    return 0
