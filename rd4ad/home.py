"""Where the explorer's pages and results are: a checkout of the repository, or an installation."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
_PLACES = (PACKAGE.parent, PACKAGE / "site")  # the second as pyproject.toml lays out a wheel
HOME = next((place for place in _PLACES if (place / "app.py").is_file()), PACKAGE.parent)
"""Folder that holds app.py, pages/, results/ and what else a hosted explorer needs."""
WEIGHTS = PACKAGE / "weights"
"""Folder of the teacher that comes with the package."""
