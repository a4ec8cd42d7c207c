"""Where the explorer's pages and results are: a checkout of the repository, or an installation."""

import re
import subprocess
from functools import lru_cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_PLACES = (PACKAGE.parent, PACKAGE / "site")  # the second as pyproject.toml lays out a wheel
HOME = next((place for place in _PLACES if (place / "app.py").is_file()), PACKAGE.parent)
"""Folder that holds app.py, pages/, results/ and what else a hosted explorer needs."""
WEIGHTS = PACKAGE / "weights"
"""Folder of the teacher that comes with the package."""


def commit() -> str:
    """Return the commit of the checkout that this package runs from, or an empty string.

    >>> len(commit()) in (0, 40)
    True
    """
    command = ["git", "-C", str(PACKAGE), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""  # installed without its repository
    return done.stdout.strip()


@lru_cache(maxsize=256)
def has_commit(name: str) -> bool | None:
    """Return whether the history that this package runs from holds a commit; None without one.

    >>> has_commit(commit()) in (True, None), has_commit("0" * 40) in (False, None)
    (True, True)
    """
    if not commit():
        return None  # installed without its repository
    if not re.fullmatch("[0-9a-f]{40}", name):
        return False
    command = ["git", "-C", str(PACKAGE), "cat-file", "-e", f"{name}^{{commit}}"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
