"""Teach a detector a new part: photos of good parts in, a calibrated detector and its report out.

A memory of patches first, in seconds and without torch; reverse distillation in the background
where torch is there. Imports training and evaluation; the command line and the web import it.

>>> from rd4ad import teach
>>> from rd4ad.data.parts import render
>>> photos = [teach.photo_of(f"{i}", render("nut", "good", i)[0]) for i in range(6)]
>>> lesson = teach.first_lesson(photos)
>>> lesson.threshold.n_photos
6
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "Lesson": "rd4ad.teach.lesson",
    "Photo": "rd4ad.teach.photos",
    "Recipe": "rd4ad.teach.memory",
    "compared": "rd4ad.teach.student",
    "first_lesson": "rd4ad.teach.lesson",
    "photo_of": "rd4ad.teach.photos",
    "read_photos": "rd4ad.teach.photos",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rd4ad.teach' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
