"""`rd4ad serve` and `rd4ad report`: the results in a browser."""

import argparse
from pathlib import Path
from typing import Any

from rd4ad.cli.command import add_command


def add_serve(commands: Any) -> None:
    """Add `rd4ad serve` to the command line."""
    parser = add_command(commands, "serve", _serve, "Open the explorer on one port.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=7860, help="port to listen on")


def _serve(options: argparse.Namespace) -> int:
    from rd4ad.web.serve import serve

    serve(host=options.host, port=options.port)
    return 0


def add_report(commands: Any) -> None:
    """Add `rd4ad report` to the command line."""
    parser = add_command(commands, "report", _report, "Write the results as static HTML pages.")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")


def _report(options: argparse.Namespace) -> int:
    from rd4ad.web.report.pages import write_report

    pages = write_report(options.results, options.out)
    print(f"wrote {len(pages)} pages; open {pages[0]}")
    return 0
