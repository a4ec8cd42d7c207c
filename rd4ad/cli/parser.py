"""The command line: `rd4ad train | evaluate | predict | export | score | bench | ...`.

Exit codes: 0 done, 1 failed on the data or the machine, 2 wrong usage. Torch is imported only by
the commands that need it.
"""

import argparse
import errno
import sys
from collections.abc import Sequence

import rd4ad
from rd4ad.cli import data, detector, explorer, metrics, novelty, publish, results, sweep, teach
from rd4ad.cli.command import Command, UsageError

_OPTIONAL = ("torch", "torchvision")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     main(["results", "index", "--results", folder])
    indexed 0 runs, 0 of them read; 0 broken runs skipped
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
    detector.add_train(commands)
    detector.add_evaluate(commands)
    detector.add_predict(commands)
    teach.add_teach(commands)
    novelty.add_novelty(commands)
    sweep.add_sweep(commands)
    detector.add_export(commands)
    metrics.add_score(commands)
    metrics.add_compare(commands)
    metrics.add_bench(commands)
    data.add_data(commands)
    results.add_results(commands)
    explorer.add_serve(commands)
    explorer.add_report(commands)
    publish.add_publish(commands)
    publish.add_push(commands)
    return parser


def entry() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(main())
