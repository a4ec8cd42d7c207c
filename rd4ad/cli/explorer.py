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
    from rd4ad.web.serve import run_server

    run_server(host=options.host, port=options.port)
    return 0


def add_report(commands: Any) -> None:
    """Add `rd4ad report` to the command line."""
    text = "Write the explorer for any static host, with detectors that run in the browser."
    parser = add_command(commands, "report", _report, text)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument(
        "--detectors", type=Path, nargs="*", metavar="CHECKPOINT",
        help="detectors of the live page (default: those in the results folder)",
    )  # fmt: skip
    parser.add_argument(
        "--vendor", type=Path,
        help="folder with the archives of npm's onnxruntime-web and plotly.js-basic-dist-min "
        "(default: npm fetches them; without npm the pages link a CDN)",
    )  # fmt: skip
    parser.add_argument("--server", default="", help="address of an explorer with a server to link")


def _report(options: argparse.Namespace) -> int:
    from rd4ad.web.report.site import write_site

    detectors = options.detectors
    if detectors is None:
        detectors = sorted((options.results / "detectors").glob("*.safetensors"))
    site = write_site(
        options.results, options.out, detectors=detectors, vendor=options.vendor,
        server=options.server,
    )  # fmt: skip
    print(
        f"wrote {len(site.datasets)} datasets, {site.n_runs} runs for the laboratory and "
        f"{len(site.detectors)} detectors"
    )
    if not site.is_vendored:
        print("npm is not installed and --vendor is not given: the pages link a public CDN")
    print(f"to look: python -m http.server --directory {options.out}, then open {site.first.name}")
    return 0
