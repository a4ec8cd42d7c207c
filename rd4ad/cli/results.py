"""`rd4ad results`: index, show, complete, verify and merge stored runs."""

import argparse
import sys
from pathlib import Path
from typing import Any

from rd4ad.cli.command import UsageError, add_command
from rd4ad.cli.sweep import add_missing


def add_results(commands: Any) -> None:
    """Add `rd4ad results` to the command line."""
    text = "Index the stored runs, or show their metrics."
    parser = commands.add_parser("results", help=text, description=text)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    text = "Bring results/index.parquet up to the run folders; only new ones are read."
    index = add_command(actions, "index", _index, text)
    index.add_argument("--again", action="store_true", help="read every run again")
    show = add_command(actions, "show", _show, "Print the metrics of the indexed runs.")
    text = "Give runs that were stored without confidence intervals theirs; no metric changes."
    intervals = add_command(actions, "intervals", _intervals, text)
    intervals.add_argument("runs", type=Path, nargs="+", help="run folders")
    text = "folder of categories, for the masks of runs that do not keep them"
    intervals.add_argument("--data", type=Path, default=Path("data"), help=text)
    text = "Compute the metrics of stored runs again from their distance maps, and compare."
    verifying = add_command(actions, "verify", _verify, text)
    verifying.add_argument("runs", nargs="*", metavar="RUN", help="ids of runs (default: all)")
    text = "folder of categories, for the masks of runs that do not keep them"
    verifying.add_argument("--data", type=Path, default=Path("data"), help=text)
    text = "every scoring of a run's grid, instead of its own alone"
    verifying.add_argument("--grid", action="store_true", help=text)
    text = "Copy the runs of several results folders into one; nothing is overwritten."
    merging = add_command(actions, "merge", _merge, text)
    merging.add_argument("sources", type=Path, nargs="+", help="results folders to copy from")
    merging.add_argument("--into", type=Path, required=True, help="results folder to copy into")
    add_missing(actions)
    for action in (index, show, verifying):
        action.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    show.add_argument("--json", action="store_true", help="print the metrics as JSON")


def _index(options: argparse.Namespace) -> int:
    from rd4ad.runs.index import update_index

    found = update_index(options.results, again=options.again)
    for run in found.broken:
        print(f"skipped {run.path}: {run.reason}", file=sys.stderr)
    print(
        f"indexed {found.n_runs} runs, {found.n_read} of them read; "
        f"{len(found.broken)} broken runs skipped"
    )
    return 0


def _verify(options: argparse.Namespace) -> int:
    from rd4ad.runs.index import run_folders
    from rd4ad.runs.store import read_run
    from rd4ad.runs.verification import verify

    names = options.runs or sorted(run_folders(options.results))
    n_sound = 0
    for name in names:
        folder = options.results / "runs" / name
        if not folder.is_dir():
            raise UsageError(f"no run {name} in {options.results}")
        try:
            told = verify(read_run(folder), options.data, whole_grid=options.grid)
        except ValueError as error:
            print(f"broken   {name}: {error}")
            continue
        n_sound += told.is_sound
        notes = [f"{told.n_checked} values"]
        notes += [told.not_checked] if told.not_checked else []
        notes += ["its commit is not in the history any more"] if told.has_commit is False else []
        print(f"{'sound  ' if told.is_sound else 'differs'}  {name}: {'; '.join(notes)}")
        for one in told.differences:
            print(f"         {one.name}: stored {one.stored:.6f}, now {one.found:.6f}")
    print(f"{n_sound} of {len(names)} runs are what their maps give")
    return 0 if n_sound == len(names) else 1


def _merge(options: argparse.Namespace) -> int:
    from rd4ad.runs.merge_runs import merge

    merged = merge(options.sources, options.into)
    for run in merged.broken:
        print(f"skipped {run.path}: {run.reason}", file=sys.stderr)
    for source, target in merged.refused:
        print(f"refused {source}: {target} has other metrics under the same id", file=sys.stderr)
    print(
        f"{len(merged.added)} runs added to {options.into}, {len(merged.identical)} were there, "
        f"{len(merged.refused)} refused; `rd4ad results index` lists them"
    )
    return int(bool(merged.refused or merged.broken))


def _intervals(options: argparse.Namespace) -> int:
    from rd4ad.runs.comparison import add_intervals
    from rd4ad.runs.dataset_images import masks_of
    from rd4ad.runs.rescoring import own_scoring
    from rd4ad.runs.store import read_run
    from rd4ad.scoring import anomaly_maps

    for path in options.runs:
        run = read_run(path.resolve())
        maps = anomaly_maps(run.distances(), own_scoring(run), run.record["size_px"])
        masks = masks_of(run, list(run.images()["image"]), options.data)
        n = int(add_intervals(run, maps, masks).metrics["ci_low"].notna().sum())
        print(f"{path}: {n} metrics have intervals; `rd4ad results index` lists them")
    return 0


def _show(options: argparse.Namespace) -> int:
    from rd4ad.metrics.category import DEFINITIONS
    from rd4ad.runs.index import metric_rows, read_index

    chosen = read_index(options.results, is_default=True)
    if options.json:
        print(metric_rows(chosen).to_json(orient="records"))
        return 0
    if chosen.empty:
        print(f"no run in the index of {options.results}: `rd4ad evaluate` stores one")
        return 0
    table = chosen.set_index("run_id")[list(DEFINITIONS)] * 100
    print("percent, at each run's own layers, fusion and smoothing; - where undefined")
    print(table.round(1).to_string(na_rep="-"))
    return 0
