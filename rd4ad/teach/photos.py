"""Photos of good parts as they arrive, and what stands in the way of learning from them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, laplace

from rd4ad.data.folders import IMAGE_SUFFIXES, DatasetError
from rd4ad.data.images import in_threads, read_image, resize_image

AT_LEAST, ENOUGH, AT_MOST = 5, 20, 500
"""Photos without which nothing is fitted, from which on numbers settle, and that are kept."""
_SMALL_PX = 32
_SAME_LEVELS = 0.7  # spread of the difference of small photos, of 255, under which two are one
_BLURRED = 0.35  # of the median sharpness
_CLIPPED = 0.25  # more of the picture than in the median photo
_OTHER_ASPECT = 0.05  # difference from the median, 5%
_ALIGNED = 0.5  # median correlation with the mean photo
_TEXTS = {
    "few": f"Fewer than {ENOUGH} photos: the rate of false alarms is estimated loosely. Add more.",
    "duplicates": "nearly the same as another one. A copy teaches nothing and makes the threshold "
    "look surer than it is: take it out, or move the part between photos.",
    "blurred": "much less sharp than the others. Blur then counts as normal: take it out, unless "
    "such photos will be judged too.",
    "over-exposed": "over-exposed: large areas are plain white, where no defect can be seen. Take "
    "it again with less light.",
    "aspect ratio": "of another aspect ratio. Every photo is stretched to a square, so the part "
    "changes its shape: crop all photos alike.",
    "not aligned": "The parts do not lie in the same place. Surface defects can still be found; a "
    "part that is missing, turned or in the wrong place may not be. Fix the camera and "
    "the position of the part if that matters.",
}


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo at the detector's size, and what was measured before it was made smaller.

    Args:
        name: of its file, unique.
        image: (S, S, 3) uint8.
        size: width and height in pixels as it came.
    """

    name: str
    image: NDArray[np.uint8]
    size: tuple[int, int]

    @cached_property
    def small(self) -> NDArray[np.float32]:
        """The photo as gray levels, (32, 32)."""
        return resize_image(self.image, _SMALL_PX).mean(2, dtype=np.float32)

    @cached_property
    def sharpness(self) -> float:
        """Spread of the Laplacian over that of the levels; falls with blur, not with light."""
        gray = gaussian_filter(self.image.mean(2, dtype=np.float32), 0.8)
        return float(laplace(gray).std() / (gray.std() + 1))

    @cached_property
    def clipped(self) -> float:
        """Share of pixels whose levels are all at the upper end: light that is lost."""
        return float((self.image.min(2) >= 253).mean())


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the visitor should know.

    Args:
        kind: a word for it.
        text: what was found, what it costs, and what to do.
        photos: names of those concerned; empty where it is the set.
        stops: whether nothing can be fitted before it is mended.
    """

    kind: str
    text: str
    photos: tuple[str, ...] = ()
    stops: bool = False


def photo_of(name: str, image: NDArray[np.uint8], size_px: int = 256) -> Photo:
    """Return a photo (H, W, 3) at the detector's size.

    >>> photo_of("a", np.zeros((30, 40, 3), np.uint8)).size
    (40, 30)
    """
    return Photo(name, resize_image(image, size_px), (image.shape[1], image.shape[0]))


def read_photos(folder: str | Path, size_px: int = 256) -> tuple[list[Photo], list[str]]:
    """Return the photos of a folder, by name, and a message for each that is left out.

    It cannot be read, or comes after the first `AT_MOST`.

    Raises:
        DatasetError: no folder, or no image in it.
    """
    folder = Path(folder)
    files = sorted(p for p in folder.glob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        kinds = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DatasetError(f"expected photos of good parts in {folder}, found no {kinds} file")

    def read(file: Path) -> Photo | str:
        try:
            return photo_of(file.name, read_image(file), size_px)
        except DatasetError as error:
            return str(error)

    found = in_threads(read, files[:AT_MOST])
    photos = [one for one in found if isinstance(one, Photo)]
    problems = [one for one in found if isinstance(one, str)]
    if len(files) > AT_MOST:
        problems.append(f"{len(files)} photos: expected at most {AT_MOST}; the rest is left out")
    return photos, problems


def images_of(photos: Iterable[Photo]) -> NDArray[np.uint8]:
    """Return photos as one array (N, S, S, 3)."""
    return np.stack([photo.image for photo in photos])


def findings(photos: Sequence[Photo]) -> list[Finding]:
    """Return what stands in the way: of the whole set first, then of some photos.

    >>> [finding.kind for finding in findings([photo_of("a", np.zeros((64, 64, 3), np.uint8))])]
    ['too few']
    """
    if len(photos) < AT_LEAST:
        text = (
            f"{len(photos)} photos: at least {AT_LEAST} are needed to fit and to hold some out. "
            f"From {ENOUGH} on the threshold settles."
        )
        return [Finding(kind="too few", text=text, stops=True)]
    sharpness = np.array([photo.sharpness for photo in photos])
    clipped = np.array([photo.clipped for photo in photos])
    aspects = np.array([np.log(photo.size[0] / photo.size[1]) for photo in photos])
    of_photos = {
        "duplicates": _is_copy(photos),
        "blurred": sharpness < _BLURRED * np.median(sharpness),
        "over-exposed": clipped > np.median(clipped) + _CLIPPED,
        "aspect ratio": np.abs(aspects - np.median(aspects)) > _OTHER_ASPECT,
    }
    of_the_set = {"few": len(photos) < ENOUGH, "not aligned": alignment(photos) < _ALIGNED}
    found = [Finding(kind=kind, text=_TEXTS[kind]) for kind, holds in of_the_set.items() if holds]
    for kind, concerned in of_photos.items():
        names = tuple(p.name for p, is_one in zip(photos, concerned, strict=True) if is_one)
        if names:
            subject = f"{names[0]} is" if len(names) == 1 else f"{len(names)} photos are"
            found.append(Finding(kind=kind, text=f"{subject} {_TEXTS[kind]}", photos=names))
    return found


def _is_copy(photos: Sequence[Photo]) -> NDArray[np.bool_]:
    small = np.stack([photo.small for photo in photos])
    nearest = [(small[:i] - one).std((1, 2)).min(initial=np.inf) for i, one in enumerate(small)]
    return np.array(nearest) < _SAME_LEVELS


def alignment(photos: Sequence[Photo]) -> float:
    """Return the median correlation of a photo with the mean of all, at 32 px, at most 1."""
    rows = np.stack([photo.small.ravel() for photo in photos])
    rows = rows - rows.mean(1, keepdims=True)
    mean = rows.mean(0)
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(mean)
    return float(np.median(rows @ mean / np.maximum(lengths, 1e-6)))


def mean_and_spread(photos: Sequence[Photo]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the mean photo and where they differ (standard deviation, 4 times), (S, S, 3)."""
    images = images_of(photos).astype(np.float32)
    spread = np.clip(4 * images.std(0), 0, 255)
    return images.mean(0).astype(np.uint8), spread.astype(np.uint8)
