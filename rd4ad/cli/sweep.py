"""`rd4ad sweep` runs a grid, `rd4ad results missing` says what of it is not there."""

import argparse
import re
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rd4ad.cli.command import Bars, UsageError, add_command
from rd4ad.data.object_store import Place, check_writable, place

if TYPE_CHECKING:
    from rd4ad.sweeps.grid import Grid
    from rd4ad.sweeps.tasks import Engine, Study, Task

MANY_CELLS = 1000


def add_sweep(commands: Any) -> None:
    """Add the command to the command line."""
    text = "Train and evaluate every cell of a grid once; resumable, on any number of machines."
    parser = add_command(commands, "sweep", _sweep, text)
    parser.add_argument("grid", type=Path, help="grid in YAML: category, backbone, seed, ...")
    parser.add_argument("--data", type=_place, required=True, help="folder of categories, or URL")
    text = "results folder, or a URL that fsspec knows, e.g. s3://bucket/results"
    parser.add_argument("--results", type=_place, default=Path("results"), help=text)
    parser.add_argument("--weights", type=Path, help="teacher's weight file, or a folder with it")
    parser.add_argument(
        "--checkpoints", type=Path, help="folder to keep the checkpoint of every cell in"
    )
    text = "runs the cells: processes of this machine, or a Ray cluster"
    parser.add_argument("--engine", choices=("local", "ray"), default="local", help=text)
    text = "of --engine ray: auto (this machine's cluster), local, or HOST:PORT (default: auto)"
    parser.add_argument("--address", help=text)
    parser.add_argument("--workers", type=int, help="cells at a time; as many as fit by default")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads per cell, and CPUs per Ray task"
    )
    parser.add_argument("--memory-mib", type=int, default=3000, help="main memory per cell, MiB")
    parser.add_argument("--device", default="cpu", help="torch device, e.g. cpu or cuda")
    parser.add_argument(
        "--gpus", type=float, default=0.0, help="GPUs per Ray task; a fraction shares one"
    )
    text = "run the i-th of n equal parts of the grid, for n machines that share a results folder"
    parser.add_argument("--shard", type=_shard, default=(1, 1), metavar="I/N", help=text)
    parser.add_argument(
        "--retry-failed", action="store_true", help="also run the cells that failed before"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would run, and run nothing"
    )
    text = f"start more than {MANY_CELLS} cells without being asked"
    parser.add_argument("--yes", action="store_true", help=text)


def _place(text: str) -> Place:
    try:
        return place(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise argparse.ArgumentTypeError(f"expected I/N with 1 <= I <= N, got {text!r}")
    return int(found[1]), int(found[2])


def _sweep(options: argparse.Namespace) -> int:
    from rd4ad.sweeps import forecast, tasks

    grid = _read(options.grid)
    _check(options)
    study = tasks.Study(
        data=options.data,
        results=options.results,
        dataset=grid.dataset or Path(options.data).resolve().name,
        weights=options.weights,
        n_threads=options.threads,
        checkpoints=options.checkpoints,
        device=options.device,
    )
    if isinstance(study.results, str) and not options.dry_run:
        check_writable(study.results)
    chosen = tasks.shard(tasks.plan_tasks(grid.cells, study), *options.shard)
    states = {task: task.state(study) for task in chosen}
    wanted = ("begun", "new", "failed") if options.retry_failed else ("begun", "new")
    due = [task for task, state in states.items() if state in wanted]
    counts = Counter(states.values())
    print(f"{len(chosen)} cells: {counts['done']} done, {counts['failed']} failed before")
    n_workers = options.workers or forecast.workers_for(study, options.memory_mib)
    print(f"{len(due)} to do, {forecast.estimate(due, study).describe(n_workers)}")
    if options.dry_run:
        for task, state in states.items():
            print(f"  {state:<8} {task.run_id}")
        return 0
    if len(due) > MANY_CELLS and not options.yes:
        raise UsageError(f"more than {MANY_CELLS} cells: say --yes, or --dry-run to see them first")
    study.folder.joinpath(".sweep").mkdir(parents=True, exist_ok=True)  # what cannot be is told now
    return _run(due, study, _engine(options, n_workers)) if due else 0


def _read(path: Path) -> "Grid":
    from rd4ad.sweeps.grid import GridError, read_grid

    try:
        return read_grid(path)
    except GridError as error:
        raise UsageError(str(error)) from error


def _check(options: argparse.Namespace) -> None:
    if options.threads < 1 or (options.workers is not None and options.workers < 1):
        raise UsageError("--threads and --workers must be 1 or more")
    if options.memory_mib < 1 or options.gpus < 0:
        raise UsageError("--memory-mib must be 1 or more, --gpus 0 or more")
    if options.engine == "local" and (options.address or options.gpus):
        raise UsageError("--address and --gpus are of --engine ray")
    if options.gpus and options.device == "cpu":
        raise UsageError("--gpus are of no use on --device cpu: say --device cuda")


def _engine(options: argparse.Namespace, n_workers: int) -> "Engine":
    if options.engine == "local":
        from rd4ad.sweeps.tasks import run_locally

        return partial(run_locally, n_workers=n_workers)
    from rd4ad.sweeps.ray_engine import Demand, on_ray

    demand = Demand(gpus=options.gpus, memory_mib=options.memory_mib, at_once=options.workers)
    return partial(on_ray, address=options.address or "auto", demand=demand)


def _run(due: "list[Task]", study: "Study", engine: "Engine") -> int:
    ended: dict[str, list[Any]] = {"done": [], "failed": [], "elsewhere": []}
    with Bars() as bars:
        bars.counted("cells", 0, len(due))
        for outcome in engine(due, study):
            ended[outcome.state].append(outcome)
            bars.counted("cells", sum(map(len, ended.values())), len(due))
    for outcome in ended["failed"]:
        place = outcome.task.place(study)
        print(f"failed: {outcome.task.run_id}: {outcome.reason} (see {place})", file=sys.stderr)
    print(", ".join(f"{len(them)} {state}" for state, them in ended.items()))
    return int(bool(ended["failed"]))


def add_missing(actions: Any) -> None:
    """Add the command to those of `rd4ad results`."""
    text = "Say which cells of a grid have no run, by their settings; needs no data and no weights."
    parser = add_command(actions, "missing", _missing, text)
    parser.add_argument("grid", type=Path, help="grid in YAML, as for rd4ad sweep")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    text = "the runs' dataset (default: the grid's, or the only one there is)"
    parser.add_argument("--dataset", help=text)
    parser.add_argument("--yaml", action="store_true", help="print a grid of the missing cells")


def _missing(options: argparse.Namespace) -> int:
    from rd4ad.runs.index import scan_runs
    from rd4ad.sweeps.missing_cells import completeness, grid_of_missing, matrix

    grid = _read(options.grid)
    if not options.results.is_dir():
        raise FileNotFoundError(f"no folder of results at {options.results}")
    runs, broken = scan_runs(options.results)
    categories = {cell.category for cell in grid.cells}
    records = [run.record for run in runs if run.record["category"] in categories]
    names = {str(record["dataset"]) for record in records}
    dataset = options.dataset or grid.dataset or (names.pop() if len(names) == 1 else None)
    if dataset is None and names:
        raise UsageError(f"name one by --dataset: there are runs of {', '.join(sorted(names))}")
    table = completeness(grid.cells, [r for r in records if r["dataset"] == dataset])
    holes = [cell for cell, is_there in zip(grid.cells, table.is_there) if not is_there]
    for run in broken:
        print(f"skipped {run.path}: {run.reason}", file=sys.stderr)
    if options.yaml:
        print(grid_of_missing(holes, dataset), end="")
    else:
        print(matrix(table).to_string())
        print(f"{len(holes)} of {len(grid.cells)} cells missing, of {dataset or 'any dataset'}")
    return 0
