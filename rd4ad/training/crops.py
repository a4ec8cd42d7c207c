"""Training images of the bundled teacher: crops, arrangements and mosaics, each from a seed.

What a crop shows is drawn from `MIX`; then it is turned, partly pasted over, and its light, colors
and noise change. The same seed always gives the same crop.
"""

import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from rd4ad.training.pictures import Pictures

MIX = {"photograph": 0.60, "arrangement": 0.22, "mosaic": 0.08, "leaves": 0.10}
_LEAF_IMAGES = 240  # sheets of dead leaves that crops are cut from
_BILINEAR = Image.Resampling.BILINEAR

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Crops:
    """What crops are cut from.

    Args:
        pictures: photographs, drawings and cut-outs.
        small: CIFAR-10's images (N, 32, 32, 3).
        leaves: sheets of dead leaves (M, 256, 256, 3).
    """

    pictures: Pictures
    small: Pixels
    leaves: Pixels

    def crop(self, rng: np.random.Generator, size_px: int) -> Pixels:
        """Return one crop (size_px, size_px, 3)."""
        kind = rng.choice(list(MIX), p=list(MIX.values()))
        image = getattr(self, f"_{kind}")(rng, size_px)
        return changed(rng, self._pasted(rng, np.asarray(image)))

    def batch(self, seed: list[int], n: int, size_px: int) -> Pixels:
        """Return `n` crops (n, size_px, size_px, 3), each from a seed of its own."""
        return np.stack([self.crop(np.random.default_rng([*seed, k]), size_px) for k in range(n)])

    @cached_property
    def _photographs(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return self.pictures.numbers(transparent=False)

    @cached_property
    def _cut_outs(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        return self.pictures.numbers(transparent=True)

    def _photograph(self, rng: np.random.Generator, size_px: int) -> Image.Image:
        numbers, weights = self._photographs
        return cut(rng, self.pictures[int(rng.choice(numbers, p=weights))], size_px)

    def _leaves(self, rng: np.random.Generator, size_px: int) -> Image.Image:
        return cut(rng, Image.fromarray(self.leaves[rng.integers(len(self.leaves))]), size_px)

    def _mosaic(self, rng: np.random.Generator, size_px: int) -> Image.Image:
        per_side = int(rng.choice([1, 2, 4]))
        side = size_px // per_side
        canvas = Image.new("RGB", (size_px, size_px))
        for place in range(per_side**2):
            tile = Image.fromarray(self.small[rng.integers(len(self.small))])
            tile = tile.resize((side, side), Image.Resampling.BICUBIC)
            canvas.paste(tile, (place % per_side * side, place // per_side * side))
        return canvas

    def _arrangement(self, rng: np.random.Generator, size_px: int) -> Image.Image:
        """Return cut-outs on plain ground or on a photograph: one large, or several alike."""
        plain = rng.random() < 0.55
        canvas = _ground(rng, size_px) if plain else self._photograph(rng, size_px)
        count = int(rng.choice([1, 1, 1, 2, 4, 9]))
        numbers, weights = self._cut_outs
        number = int(rng.choice(numbers, p=weights))
        for _ in range(count):
            if rng.random() < 0.3:
                number = int(rng.choice(numbers, p=weights))
            item = self.pictures[number]
            item = item.crop(item.getbbox())
            reach = rng.uniform(0.5, 1.3) if count == 1 else rng.uniform(0.2, 0.6)
            scale = size_px * reach / max(item.size)
            size = max(1, round(item.width * scale)), max(1, round(item.height * scale))
            item = item.resize(size, _BILINEAR)
            if rng.random() < 0.5:
                item = item.rotate(float(rng.uniform(0, 360)), _BILINEAR, expand=True)
            if count == 1:
                center = rng.normal(0.5, 0.08, 2)
            else:
                center = rng.uniform(0, 1, 2)
            x, y = (center * size_px - np.array(item.size) / 2).astype(int)
            canvas.paste(item, (int(x), int(y)), item)
        return canvas

    def _pasted(self, rng: np.random.Generator, image: Pixels) -> Pixels:
        """Paste a rectangle from elsewhere into one crop in five: an edge no photograph has."""
        if rng.random() >= 0.2:
            return image
        size_px = len(image)
        origin = np.asarray(self._photograph(rng, size_px)) if rng.random() < 0.5 else image
        sides = np.exp(rng.uniform(np.log(3), np.log(0.4 * size_px), 2)).astype(int)
        (y, x), (v, u) = rng.integers(0, size_px - sides, (2, 2))
        h, w = sides
        image = image.copy()
        image[y : y + h, x : x + w] = origin[v : v + h, u : u + w]
        return image


def cut(rng: np.random.Generator, picture: Image.Image, size_px: int) -> Image.Image:
    """Return a part of a picture, at any scale up to the whole, as size_px x size_px pixels.

    >>> cut(np.random.default_rng(0), Image.new("RGB", (200, 150)), 64).size
    (64, 64)
    """
    shorter = min(picture.size)
    smallest = min(max(96.0, 0.7 * size_px), shorter)
    side, aspect = (
        np.exp(rng.uniform(np.log(smallest), np.log(shorter))),
        np.exp(rng.uniform(-0.25, 0.25)),
    )
    width, height = min(picture.width, side / aspect), min(picture.height, side * aspect)
    left, top = rng.uniform(0, picture.width - width), rng.uniform(0, picture.height - height)
    if rng.random() < 0.3:  # turned: a square inside the part, seen under an angle
        angle, half = rng.uniform(0, 2 * np.pi), 0.7 * min(width, height) / size_px
        c, s = half * np.cos(angle), half * np.sin(angle)
        x, y = left + width / 2, top + height / 2
        affine = (c, -s, x - (c - s) * size_px / 2, s, c, y - (s + c) * size_px / 2)
        return picture.transform((size_px, size_px), Image.Transform.AFFINE, affine, _BILINEAR)
    box = (left, top, left + width, top + height)
    return picture.resize((size_px, size_px), _BILINEAR, box, reducing_gap=2.0)


def changed(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Return a crop turned by quarters, mirrored, with other light, colors and noise.

    >>> changed(np.random.default_rng(0), np.zeros((8, 8, 3), np.uint8)).shape
    (8, 8, 3)
    """
    image = np.rot90(image, int(rng.integers(4)))
    if rng.random() < 0.5:
        image = image[:, ::-1]
    pixels = image.astype(np.float32)
    if rng.random() < 0.125:
        pixels = np.repeat(pixels.mean(2, keepdims=True), 3, 2)
    elif rng.random() < 1 / 7:
        pixels = pixels[..., rng.permutation(3)]
    if rng.random() < 0.7:
        mean = pixels.mean((0, 1))
        light = rng.uniform(0.6, 1.3) * rng.uniform(0.85, 1.15, 3)
        pixels = (pixels - mean) * rng.uniform(0.5, 1.4) + mean * light + rng.uniform(-15, 15)
    if rng.random() < 0.3:
        noise = rng.normal(0, rng.uniform(1, 8), pixels.shape)
        pixels = pixels + noise.astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def _ground(rng: np.random.Generator, size_px: int) -> Image.Image:
    """Return plain ground with a little shading and noise, as a part is photographed on."""
    base = rng.uniform(0, 255) if rng.random() < 0.5 else rng.choice([5, 15, 235, 250])
    color = np.clip(base + rng.normal(0, 12, 3), 0, 255)
    ramp = np.linspace(-1, 1, size_px)
    shade = ramp[:, None] * rng.normal(0, 8) + ramp * rng.normal(0, 8)
    noise = rng.normal(0, rng.uniform(0, 4), (size_px, size_px))
    pixels = color + (shade + noise)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def cifar_images(archive: Path, every: int = 1) -> Pixels:
    """Return CIFAR-10's training images (N, 32, 32, 3) from split/class/number.jpg in a zip.

    Args:
        archive: the zip.
        every: take one image in so many.
    """
    with zipfile.ZipFile(archive) as files:
        names = sorted(n for n in files.namelist() if "train/" in n and n.endswith(".jpg"))
        images = [np.asarray(Image.open(io.BytesIO(files.read(n)))) for n in names[::every]]
    return np.stack(images)


def dead_leaves(n: int = _LEAF_IMAGES, size_px: int = 256) -> Pixels:
    """Return `n` sheets of overlapping textured shapes of every size, (n, size_px, size_px, 3).

    >>> dead_leaves(1, size_px=64).shape
    (1, 64, 64, 3)

    Source: Baradad et al., "Learning to See by Looking at Noise", NeurIPS 2021.
    """
    return np.stack([_sheet(np.random.default_rng([20220101, k]), size_px) for k in range(n)])


def _sheet(rng: np.random.Generator, size_px: int) -> Pixels:
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    canvas = np.broadcast_to(rng.uniform(0, 255, 3), (size_px, size_px, 3)).copy()
    for _ in range(int(rng.integers(20, 160))):
        reach = size_px * 0.5 * rng.uniform(0.06, 1) ** 3 + 2  # many small ones, few large ones
        center_y, center_x, angle = *rng.uniform(0, size_px, 2), rng.uniform(0, 2 * np.pi)
        low_y, low_x = max(int(center_y - reach), 0), max(int(center_x - reach), 0)
        window = np.s_[low_y : int(center_y + reach) + 1, low_x : int(center_x + reach) + 1]
        dy, dx = y[window] - center_y, x[window] - center_x
        along = dx * np.cos(angle) + dy * np.sin(angle)
        across = dy * np.cos(angle) - dx * np.sin(angle)
        flat = rng.uniform(0.1, 1)  # how narrow the shape is
        power = rng.choice([1.0, 2.0, 6.0])  # diamond, ellipse, rounded rectangle
        inside = np.abs(along / reach) ** power + np.abs(across / (flat * reach)) ** power < 1
        leaf = rng.uniform(0, 255, 3) + _texture(rng, along, across)[..., None]
        canvas[window] = np.where(inside[..., None], leaf, canvas[window])
    canvas = gaussian_filter(canvas, (sigma := rng.uniform(0.3, 0.9), sigma, 0))
    canvas += rng.normal(0, rng.uniform(0, 6), canvas.shape)
    return np.clip(canvas, 0, 255).astype(np.uint8)


def _texture(
    rng: np.random.Generator, along: NDArray[np.float32], across: NDArray[np.float32]
) -> NDArray[np.float32]:
    contrast, period = rng.uniform(0, 60), rng.uniform(2, 24)
    kind = rng.integers(4)
    if kind == 0:
        return contrast * np.sin(along * 2 * np.pi / period)
    if kind == 1:
        return contrast * np.sin(along * 2 * np.pi / period) * np.sin(across * 2 * np.pi / period)
    if kind == 2:
        noise = gaussian_filter(rng.normal(size=along.shape), rng.uniform(0.5, 4, 2))
        return (contrast * noise / (noise.std() + 1e-6)).astype(np.float32)
    return contrast * along / (np.abs(along).max() + 1)  # shading
