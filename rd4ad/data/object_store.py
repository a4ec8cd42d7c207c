"""Images and runs behind a URL, for machines that share no file system.

A place is a path or a URL that fsspec knows: s3://, gs://, hf://. file:// is a path. Where machines
see one file system, a path is better: half-finished cells go on anywhere and two sweeps at once
respect each other. An object store has no rename and no lock, so of a URL this much holds:

- a run is there when its run.json is, which is uploaded last: no reader takes half a run for one;
- only whole runs go there. What is half-finished, its log and its lock lie in a scratch folder of
  the node, so a cell goes on where it was stopped, and begins again on another node;
- two sweeps at once of the same cells on two nodes do them twice: share them out by --shard, or let
  one driver do it. The second to end finds the run there and leaves it.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from filelock import FileLock

Place = Path | str  # a str is a URL
# In other places a folder is part of a name; asked to make one, they may make a bucket.
_WITH_FOLDERS = ("local", "sftp", "ssh", "smb", "ftp", "hdfs", "webhdfs")
_URL = re.compile(r"([a-z][a-z0-9+.-]*)://")


def place(text: str) -> Place:
    """Return what an option names: a path, or a URL as it is.

    >>> place("results"), place("file:///shared/results"), place("s3://bucket/results/")
    (PosixPath('results'), PosixPath('/shared/results'), 's3://bucket/results')

    Raises:
        ValueError: a URL of a place that only one process sees.
    """
    found = _URL.match(text)
    if not found:
        return Path(text)
    if found[1] == "memory":
        raise ValueError("memory:// is gone with the process that wrote it: name a folder")
    rest = text[found.end() :].rstrip("/")
    return Path(rest) if found[1] == "file" else found[0] + rest


def scratch(url: str) -> Path:
    """Return this node's folder for what belongs to a URL: below RD4AD_SCRATCH, or the temporary.

    >>> scratch("s3://bucket/a") == scratch("s3://bucket/a") != scratch("s3://bucket/b")
    True
    """
    given = os.environ.get("RD4AD_SCRATCH")
    home = Path(given) if given else Path(tempfile.gettempdir()) / f"rd4ad-{os.getuid()}"
    return home / sha256(url.encode()).hexdigest()[:12]


def check_writable(url: str) -> None:
    """Write a file below a URL and remove it again.

    Raises:
        OSError: that cannot be done; the message says why (ConnectionError, FileNotFoundError).
        ValueError: fsspec does not know the protocol, or lacks the package that speaks it.
    """
    with _reached(url, "write") as (system, root):
        _make_folder(system, url, root)
        probe = f"{root}/.probe-{os.getpid()}"
        system.pipe_file(probe, b"")
        system.rm_file(probe)


def has_run(url: str, run_id: str) -> bool:
    """Return whether a run is there, whole; one request.

    Raises:
        OSError: the place cannot be asked.
    """
    with _reached(url, "read") as (system, root):
        try:
            system.info(f"{root}/runs/{run_id}/run.json")  # `exists` takes any error for a no
        except FileNotFoundError:
            return False
    return True


def publish(run: Path, url: str) -> None:
    """Upload a run folder, run.json last; again after a half-done upload, it is made whole.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     (Path(folder) / "rd-nut").mkdir()
    ...     _ = (Path(folder) / "rd-nut/run.json").write_text("{}")
    ...     publish(Path(folder) / "rd-nut", f"local://{folder}/target")
    ...     has_run(f"local://{folder}/target", "rd-nut")
    True

    Raises:
        OSError: it cannot be written; the run is not there then.
    """
    with _reached(url, "write") as (system, root):
        target = f"{root}/runs/{run.name}"
        _make_folder(system, url, target)
        for path in sorted(run.iterdir(), key=lambda path: (path.name == "run.json", path.name)):
            system.put_file(str(path), f"{target}/{path.name}")


def fetched(url: str, category: str) -> Path:
    """Return the folder of categories on this node with that category in it, fetched once.

    Whoever needs it while it is being fetched waits. It is kept, and not looked at again: where the
    images behind the URL change, remove `scratch(url)`.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    data = scratch(url) / "data"
    folder, beside = data / category, data / f".{category}.fetching"
    data.mkdir(parents=True, exist_ok=True)
    with FileLock(data / f".{category}.lock"):
        if not folder.is_dir():
            shutil.rmtree(beside, ignore_errors=True)  # of one that was killed
            with _reached(url, "read") as (system, root):
                system.get(f"{root}/{category}/", f"{beside}/", recursive=True)
            beside.replace(folder)
    return data


def _make_folder(system: Any, url: str, path: str) -> None:
    if url.startswith(tuple(f"{name}://" for name in _WITH_FOLDERS)):
        system.makedirs(path, exist_ok=True)


@contextmanager
def _reached(url: str, verb: str) -> Iterator[tuple[Any, str]]:
    """Yield the file system behind a URL and the path in it; name the URL in whatever fails."""
    try:
        from fsspec.core import url_to_fs

        # A listing that is remembered would hide what other nodes have written since.
        system, root = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url} cannot be used: {error}") from error
    try:
        yield system, root.rstrip("/")
    except Exception as error:  # every store has errors of its own
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ConnectionError
        raise kind(f"cannot {verb} {url}: {type(error).__name__}: {error}") from error
