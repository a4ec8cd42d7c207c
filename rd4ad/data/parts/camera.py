"""The camera: from a scene in linear light to an 8-bit photograph and its mask."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from rd4ad.data.parts.fields import Field, Scene

READ_NOISE = 0.0035  # of full scale, in linear light
SHOT_NOISE = 0.00018
BLUR_PX = 0.45
MASK_SHARE = 0.2  # a pixel belongs to the mask when the defect altered this share of it


def photograph(
    scene: Scene, rng: Generator, size_px: int = 256
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return the picture (S, S, 3) uint8 and the mask (S, S) bool of a scene.

    Exposure, white balance, fall-off of the light, blur and sensor noise are drawn from `rng`.

    >>> scene = Scene(np.ones((512, 512, 3), np.float32), np.ones((512, 512), np.float32))
    >>> picture, mask = photograph(scene, np.random.default_rng(0), size_px=64)
    >>> picture.shape, picture.dtype.name, bool(mask.all())
    ((64, 64, 3), 'uint8', True)
    """
    light = np.stack([_reduce(scene.light[..., c], size_px) for c in range(3)], axis=-1)
    light *= _illumination(rng, size_px)
    light = gaussian_filter(light, (BLUR_PX, BLUR_PX, 0), truncate=3)
    np.maximum(light, 0, out=light)
    shared = rng.standard_normal((size_px, size_px, 1), np.float32)
    own = rng.standard_normal((size_px, size_px, 3), np.float32)
    light += (0.8 * shared + 0.6 * own) * np.sqrt(READ_NOISE**2 + SHOT_NOISE * light)
    encoded = np.clip(light, 0, 1) ** np.float32(1 / 2.2)
    mask = _reduce(scene.defect, size_px) >= MASK_SHARE
    return (encoded * 255 + 0.5).astype(np.uint8), mask


def _reduce(field: Field, size_px: int) -> Field:
    resized = Image.fromarray(field).resize((size_px, size_px), Image.Resampling.BOX)
    return np.array(resized)


def _illumination(rng: Generator, size_px: int) -> Field:
    axis = np.linspace(-1, 1, size_px, dtype=np.float32)
    y, x = axis[:, None] - rng.normal(-0.1, 0.05), axis[None, :] - rng.normal(-0.1, 0.05)
    falloff = 1.03 - rng.uniform(0.09, 0.13) * (x * x + y * y)
    balance = rng.normal(1, 0.008, 3).astype(np.float32)
    return falloff[..., None] * balance * rng.normal(1, 0.025)
