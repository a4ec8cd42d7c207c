"""`rd4ad data`: check a dataset, make generated parts."""

import argparse
import json
from pathlib import Path
from typing import Any

from rd4ad.cli.command import Bars, UsageError, add_command


def add_data(commands: Any) -> None:
    """Add `rd4ad data` to the command line."""
    text = "Check a dataset, or make the generated parts."
    parser = commands.add_parser("data", help=text, description=text)
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    check = add_command(
        actions, "check", _check, "List every problem of a dataset in MVTec layout."
    )
    check.add_argument("folder", type=Path, help="folder of categories")
    check.add_argument("--json", action="store_true", help="print the problems as JSON")
    make = add_command(actions, "make", _make, "Write the generated parts in MVTec layout.")
    make.add_argument("folder", type=Path, help="folder to write categories into")
    make.add_argument("--seed", type=int, default=0, help="of everything generated")
    make.add_argument("--train", type=int, default=200, help="normal training images per category")


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
    with Bars() as bars:
        write_parts(options.folder, seed=options.seed, n_train=options.train, progress=bars.counted)
    print(f"wrote the generated parts to {options.folder}")
    return 0
