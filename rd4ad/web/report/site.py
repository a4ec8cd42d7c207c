"""The explorer for any static host: pages as they are written, data, models, and their runtime."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from rd4ad.web.report.data import write_data
from rd4ad.web.report.models import write_detectors, write_laboratory, write_teacher
from rd4ad.web.report.vendor import write_vendor

STATIC = Path(__file__).resolve().parent / "static"
_ADDRESS = re.compile(r"https?://[\w.:/-]+")


@dataclass(frozen=True)
class Site:
    """What was written.

    Args:
        first: the first page.
        datasets: names of datasets with values.
        n_runs: runs in the laboratory.
        detectors: names of detectors in the live page.
        is_vendored: whether the runtime lies beside the pages; else they link a CDN.
    """

    first: Path
    datasets: tuple[str, ...]
    n_runs: int
    detectors: tuple[str, ...]
    is_vendored: bool


def write_site(
    results: Path,
    out: Path,
    *,
    detectors: Sequence[Path] = (),
    vendor: Path | None = None,
    server: str = "",
) -> Site:
    """Write the static explorer below `out`.

    Args:
        results: folder of results.
        out: folder to write into; made if it is not there.
        detectors: checkpoints for the live page.
        vendor: folder with the pinned packages; see `rd4ad.web.report.vendor`.
        server: address of an explorer with a server, which the menu then links.

    Raises:
        FileNotFoundError: there are no published metrics below `results`.
        ValueError: a damaged file, a detector that cannot be exported, another package than the
            pinned one, or a `server` that is no address.
        OSError: `out` cannot be written.
    """
    if server and not _ADDRESS.fullmatch(server):
        raise ValueError(f"expected the server's address, http:// or https://; got {server!r}")
    out.mkdir(parents=True, exist_ok=True)
    datasets = write_data(results, out)
    shutil.copytree(STATIC, out, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.json"))
    if server:
        _link_server(out, server)
    n_runs = write_laboratory(results, out)
    names = write_detectors(detectors, out)
    write_teacher(out)
    is_vendored = write_vendor(out, vendor)
    return Site(out / "index.html", tuple(datasets), n_runs, tuple(names), is_vendored)


def _link_server(out: Path, server: str) -> None:
    for page in out.glob("*.html"):
        tag = f'<meta name="server" content="{escape(server)}">\n<title>'
        text = page.read_text(encoding="utf-8").replace("<title>", tag, 1)
        page.write_text(text, encoding="utf-8")
