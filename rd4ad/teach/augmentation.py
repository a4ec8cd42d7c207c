"""Turned, shifted, darker and brighter copies of the photos: where parts vary so, and it helps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, rotate

from rd4ad.teach.photos import Photo

Images = NDArray[np.uint8]
_ANGLES = range(-30, 31, 3)  # degrees
_SHIFTS = range(-4, 5)  # pixels of 32
_LEAST = {"turned": 2.0, "shifted": 0.7, "lit": 0.03}
"""Spread from which on photos count as turned (degrees), shifted (pixels of 32), lit (share)."""
_EXPLAINED = 0.03  # correlation with the reference that turning or shifting back must gain
_ALIKE = 0.8  # correlation that it must reach: a texture is not alike however it is turned
_GAIN = 0.001  # of AUROC on painted defects, under which copies are not worth their time


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """A kind of copies that was tried.

    Args:
        kind: a key of `COPIES`.
        spread: by which the photos vary so, and the copies do.
        quality_without, quality_with: mean of image and pixel AUROC on painted defects; synthetic.
    """

    kind: str
    spread: float
    quality_without: float
    quality_with: float

    @property
    def is_taken(self) -> bool:
        """Whether the copies stay in the memory."""
        return self.quality_with - self.quality_without > _GAIN

    @property
    def text(self) -> str:
        """What was seen and done."""
        how = {
            "turned": f"turned by about {self.spread:.0f} degrees",
            "shifted": f"shifted by about {100 * self.spread / 32:.0f}% of the side",
            "lit": f"lit differently by about {100 * self.spread:.0f}%",
        }[self.kind]
        done = "and are used" if self.is_taken else "too little, and are not used"
        return (
            f"The parts are {how}. Copies that vary so took AUROC on painted defects from "
            f"{100 * self.quality_without:.1f}% to {100 * self.quality_with:.1f}%, {done}."
        )


def _moved(image: Images, angle: float, shift: float) -> Images:
    """Return an image turned by degrees about its middle and shifted by pixels along both axes."""
    turn = np.deg2rad(angle)
    rows = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.full(2, (len(image) - 1) / 2)
    offset = middle - rows @ (middle + shift * np.array([1, -1]))
    channels = [
        affine_transform(channel, rows, offset, order=1, mode="nearest")
        for channel in np.moveaxis(image, 2, 0)
    ]
    return np.stack(channels, 2)


def _turned(image: Images, spread: float) -> Images:
    return _moved(image, spread, 0)


def _shifted(image: Images, spread: float) -> Images:
    return _moved(image, 0, spread * len(image) / 32)


def _lit(image: Images, spread: float) -> Images:
    return np.clip(np.rint(image * np.float32(1 + spread)), 0, 255).astype(np.uint8)


COPIES: dict[str, Callable[[Images, float], Images]] = {
    "turned": _turned, "shifted": _shifted, "lit": _lit,
}  # fmt: skip


def copies(images: Images, kind: str, spread: float) -> Images:
    """Return two copies an image (2N, S, S, 3), varied by the spread to either side.

    >>> copies(np.full((1, 4, 4, 3), 100, np.uint8), "lit", 0.1)[:, 0, 0, 0].tolist()
    [90, 110]

    Args:
        images: (N, S, S, 3).
        kind: a key of `COPIES`.
        spread: in the kind's unit; see `variations`.
    """
    return np.stack([COPIES[kind](one, way * spread) for one in images for way in (-1, 1)])


def variations(photos: Sequence[Photo]) -> dict[str, float]:
    """Return how the photos vary in ways that copies can show, by kind; empty where they do not.

    Turned (degrees) and shifted (pixels of 32) are seen against the photo that is most like the
    others, and only where turning or shifting back makes the photos alike; lit is a share.
    """
    small = np.stack([photo.small for photo in photos])
    levels = small.mean((1, 2))
    found = {"lit": float(np.std(np.log(levels + 1)))}
    rows = _standardized(small)
    reference = rows[(rows @ rows.T).mean(0).argmax()]
    angles = [rotate(small, a, (1, 2), reshape=False, order=1, mode="nearest") for a in _ANGLES]
    found["turned"] = _spread(angles, reference, np.array(_ANGLES, float)[:, None])
    steps = list(product(_SHIFTS, _SHIFTS))
    moved = [np.roll(small, step, (1, 2)) for step in steps]
    found["shifted"] = _spread(moved, reference, np.array(steps, float))
    return {kind: spread for kind, spread in found.items() if spread >= _LEAST[kind]}


def _standardized(small: NDArray[np.float32]) -> NDArray[np.float32]:
    rows = small[:, 3:-3, 3:-3].reshape(len(small), -1)  # the border moves in and out
    rows = rows - rows.mean(1, keepdims=True)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def _spread(
    undone: list[NDArray[np.float32]], reference: NDArray[np.float32], by: NDArray[np.float64]
) -> float:
    """Return the spread of what makes the photos most like the reference, 0 if it does not."""
    alike = np.stack([_standardized(one) @ reference for one in undone])
    still = int(np.flatnonzero((by == 0).all(1))[0])
    at_best, as_is = float(np.median(alike.max(0))), float(np.median(alike[still]))
    is_explained = at_best > _ALIKE and at_best - as_is > _EXPLAINED
    return float(by[alike.argmax(0)].std(0).max()) if is_explained else 0.0
