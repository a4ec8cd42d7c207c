"""Options that several commands share, and what they print alike."""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from rd4ad.cli.command import UsageError
from rd4ad.config import ENGINES, TrainingConfig

if TYPE_CHECKING:
    from rd4ad.inference.detector import Detector


def add_category(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a category."""
    parser.add_argument("--data", type=Path, required=True, help="folder of categories")
    parser.add_argument("--category", required=True, help="category, a folder below --data")


def categories_in(options: argparse.Namespace) -> list[str]:
    """Return the categories that the options of `add_category` name: one, several, or all.

    >>> categories_in(argparse.Namespace(data=Path("nowhere"), category="pill,bottle"))
    ['pill', 'bottle']

    Raises:
        DatasetError: all of a folder that is not there.
    """
    from rd4ad.data.folders import list_categories

    if options.category == "all":
        return list_categories(options.data)
    return [name.strip() for name in str(options.category).split(",") if name.strip()]


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the options that say with what a teacher is run, and where."""
    parser.add_argument("--weights", type=Path, help="teacher's weight file, or a folder with it")
    parser.add_argument("--device", default="cpu", help="torch device, e.g. cpu or cuda")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add `add_device`, and what runs the networks."""
    add_device(parser)
    text = "runtime of the networks; onnx on the CPU where the method has a graph, torch otherwise"
    parser.add_argument("--engine", choices=ENGINES, help=text)


def loaded(options: argparse.Namespace) -> "Detector":
    """Return the detector of a checkpoint, as the options of `add_engine` want it.

    Raises:
        UsageError: engine and device do not go together, or there is no such device.
    """
    from rd4ad.inference.detector import Detector

    if options.device != "cpu":
        if options.engine == "onnx":
            raise UsageError("--engine onnx runs on the cpu: leave one of it and --device out")
        check_device(options.device)
    return Detector.load(
        options.checkpoint, weights=options.weights, engine=options.engine, device=options.device
    )


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
            type=layers if field.name == "layers" else kind,
            default=field.default if field.default is not None else argparse.SUPPRESS,
            help=described[field.name].replace("%", "%%") + own,
        )


def layers(text: str) -> tuple[int, ...]:
    """Return the layers that a word names.

    >>> layers("2+3")
    (2, 3)
    """
    try:
        return tuple(int(part) for part in re.split(r"[+,]", text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected e.g. 1+2+3 or 3, got {text!r}") from error


def check_device(name: str) -> None:
    """Raise UsageError where torch has no such device."""
    import torch

    try:
        torch.zeros(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:  # no such kind; a build without it
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {name} cannot be used here ({reason}): try cpu") from error


def print_skipped(problems: Sequence[str]) -> None:
    """Say on standard error what was left out, a line each."""
    for problem in problems:
        print(f"skipped: {problem}", file=sys.stderr)


def print_metrics(rows: Sequence[Mapping[Any, Any]], as_json: bool) -> None:
    """Print metrics, a line each or as JSON; an undefined one with its reason."""
    if as_json:
        print(json.dumps([{k: None if v != v else v for k, v in row.items()} for row in rows]))
        return
    for row in rows:
        value = f"{row['value']:.4f}" if row["value"] == row["value"] else f"- ({row['reason']})"
        print(f"{row['metric']:<16} {row['definition']:<22} {value}")
