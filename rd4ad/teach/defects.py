"""Defects painted into photos, with exact masks: what a detector would find, with none at hand.

Each changes the photo within its mask and nothing else. They stand for no real defect: a rate of
painted ones that are found compares detectors and thresholds, and is never mixed with real ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

SIZES_PX = (2, 4, 8, 16, 32, 64)
"""Length or diameter, of an image of 256 px; others in proportion."""

Image = NDArray[np.float32]
Cover = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Painted:
    """A photo with one defect.

    Args:
        image: (S, S, 3) uint8.
        mask: (S, S) bool, True where it was changed.
        kind: a key of `KINDS`.
        size_px: one of `SIZES_PX`.
        photo: index of the photo.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    kind: str
    size_px: int
    photo: int


def _grid(side: int, center: NDArray[np.float64]) -> tuple[Cover, Cover]:
    y, x = np.mgrid[:side, :side].astype(np.float32)
    return (y - np.float32(center[0])), (x - np.float32(center[1]))


def _blob_cover(
    rng: np.random.Generator, side: int, size: float, center: NDArray[np.float64]
) -> Cover:
    """Return how much of each pixel an uneven disk covers, in [0, 1]."""
    y, x = _grid(side, center)
    angle, radius = np.arctan2(y, x), np.hypot(y, x)
    edge = np.full_like(radius, size / 2)
    for wave in (2, 3, 5):
        edge += size / 2 * rng.uniform(0, 0.25) * np.cos(wave * angle + rng.uniform(0, 6.28))
    return np.clip(edge - radius + 0.5, 0, 1)


def _other_color(rng: np.random.Generator, image: Image, cover: Cover) -> Image:
    """Return a color that differs from the covered one by at least 40 levels."""
    own = image[cover > 0].mean(0) if (cover > 0).any() else image.mean((0, 1))
    for _ in range(50):
        color = rng.uniform(0, 255, 3).astype(np.float32)
        if np.abs(color - own).mean() > 40:
            break
    return color


def _blob(
    rng: np.random.Generator, image: Image, size: float, center: NDArray[np.float64]
) -> tuple[Image, Cover]:
    cover = _blob_cover(rng, len(image), size, center)
    grain = rng.normal(0, 6, image.shape).astype(np.float32)
    return _other_color(rng, image, cover) + grain, cover


def _stain(
    rng: np.random.Generator, image: Image, size: float, center: NDArray[np.float64]
) -> tuple[Image, Cover]:
    cover = _blob_cover(rng, len(image), size, center)
    tint = _other_color(rng, image, cover)
    return 0.6 * image + 0.4 * tint, cover


def _scratch(
    rng: np.random.Generator, image: Image, size: float, center: NDArray[np.float64]
) -> tuple[Image, Cover]:
    y, x = _grid(len(image), center)
    angle, bend = rng.uniform(0, np.pi), rng.uniform(-0.3, 0.3) / max(size, 8)
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle) + bend * along**2
    width = rng.uniform(1.0, 2.5)
    cover = np.clip(width / 2 + 0.5 - np.abs(across), 0, 1) * np.clip(
        size / 2 + 0.5 - np.abs(along), 0, 1
    )
    return image + float(rng.choice([-70, 70])), cover


def _missing(
    rng: np.random.Generator, image: Image, size: float, center: NDArray[np.float64]
) -> tuple[Image, Cover]:
    """What lies around, blurred, instead of the piece: as if it had broken away."""
    cover = _blob_cover(rng, len(image), size, center)
    weight = gaussian_filter(1 - cover, size / 2) + 1e-4
    around = np.stack(
        [gaussian_filter(c * (1 - cover), size / 2) / weight for c in np.moveaxis(image, 2, 0)], 2
    )
    return around + rng.normal(0, 2, image.shape).astype(np.float32), cover


def _misplaced(
    rng: np.random.Generator, image: Image, size: float, center: NDArray[np.float64]
) -> tuple[Image, Cover]:
    """A piece from elsewhere in the photo, turned; CutPaste's defect."""
    side = len(image)
    y, x = _grid(side, center)
    cover = np.clip(np.float32(size / 2 + 0.5) - np.maximum(np.abs(y), np.abs(x)), 0, 1)
    angle = rng.uniform(0, 2 * np.pi)
    reach = min(size, side / 2 - 1)
    origin = rng.uniform(reach, side - reach, 2)
    v = origin[0] + y * np.cos(angle) - x * np.sin(angle)
    u = origin[1] + y * np.sin(angle) + x * np.cos(angle)
    piece = [map_coordinates(c, (v, u), order=1, mode="reflect") for c in np.moveaxis(image, 2, 0)]
    return np.stack(piece, 2), cover


KINDS: dict[str, Callable[..., tuple[Image, Cover]]] = {
    "scratch": _scratch, "blob": _blob, "missing piece": _missing, "stain": _stain,
    "misplaced piece": _misplaced,
}  # fmt: skip
_VISIBLE = 3.0  # levels; a defect that changes less, all through its mask, is painted again


def painted(images: NDArray[np.uint8], per_case: int = 2, seed: int = 0) -> list[Painted]:
    """Return defects of every kind and size, `per_case` each, in photos taken in turn.

    >>> defects = painted(np.full((2, 64, 64, 3), 90, np.uint8), per_case=1)
    >>> len(defects) == len(KINDS) * len(SIZES_PX)
    False

    They lie where the photos have something to see: the place is drawn from the pixels that differ
    from the border's color. A piece taken from a plain photo changes nothing and is left out.

    Args:
        images: (N, S, S, 3), photos that the detector was not fitted on.
        per_case: of a kind and size.
        seed: of all that is drawn.
    """
    found = []
    places = [_places(image) for image in images]
    case = 0
    for kind, paint in KINDS.items():
        for size_px in SIZES_PX:
            for _ in range(per_case):
                photo = case % len(images)
                case += 1
                rng = np.random.default_rng([seed, case])
                one = _painted(rng, images[photo], places[photo], paint, size_px)
                if one is not None:
                    found.append(Painted(*one, kind, size_px, photo))
    return found


def _painted(
    rng: np.random.Generator, image: NDArray[np.uint8], places: NDArray[np.int64],
    paint: Callable[..., tuple[Image, Cover]], size_px: int,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]] | None:  # fmt: skip
    base = image.astype(np.float32)
    size = size_px * len(image) / 256
    for _ in range(8):
        center = places[rng.integers(len(places))] + rng.uniform(-0.5, 0.5, 2)
        paintwork, cover = paint(rng, base, size, center)
        changed = base + (paintwork - base) * cover[..., None]
        after = np.clip(np.rint(changed), 0, 255).astype(np.uint8)
        mask = (after != image).any(2)
        if mask.any() and np.abs(after[mask].astype(float) - image[mask]).mean() > _VISIBLE:
            return after, mask
    return None


def _places(image: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the pixels (n, 2) where something of the part is, all where none stands out."""
    gray = gaussian_filter(image.mean(2, dtype=np.float32), 2)
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    apart = np.abs(gray - np.median(border)) > max(12.0, 2 * float(border.std()))
    if apart.mean() < 0.05:
        apart = np.ones_like(apart)
    return np.argwhere(apart)
