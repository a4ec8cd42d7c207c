"""What the commands of the command line share: how one is added, its progress, its wrong usage."""

import argparse
from collections.abc import Callable
from typing import Any

Command = Callable[[argparse.Namespace], int]


class UsageError(Exception):
    """An option's value that argparse itself cannot judge."""


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Print an option's default where it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.default in (None, False, ""):
            return action.help
        return super()._get_help_string(action)


def add_command(commands: Any, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    """Return the parser of a new command, described by `text`, which runs `command`.

    >>> commands = argparse.ArgumentParser().add_subparsers()
    >>> add_command(commands, "hello", lambda options: 0, "Say hello.").description
    'Say hello.'

    Args:
        commands: of the parser.
        name: of the command.
        command: what it runs.
        text: what it does, as it is printed.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text.replace("%", "%%"),  # which argparse would fill in
        description=text.replace("%", "%%"),
        formatter_class=_Help,
        allow_abbrev=False,  # --data would otherwise be taken for --dataset where there is no such
    )
    parser.set_defaults(command=command)
    return parser


class Bars:
    """Progress bars on standard error, one a stage."""

    def __enter__(self) -> "Bars":
        self.bar: Any = None
        self.stage = ""
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def counted(self, stage: str, done: int, total: int) -> None:
        """Show that `done` of `total` of a stage are done."""
        from tqdm import tqdm

        if stage != self.stage:
            self.__exit__()
            unit = "cell" if stage == "cells" else "image"
            self.bar, self.stage = tqdm(total=total, desc=stage, unit=unit), stage
        self.bar.update(done - self.bar.n)

    def training(self, progress: Any) -> None:
        """Show where a training stands."""
        self.counted(progress.stage, progress.done, progress.total)
        if progress.loss == progress.loss:
            self.bar.set_postfix(loss=f"{progress.loss:.4f}", refresh=False)
