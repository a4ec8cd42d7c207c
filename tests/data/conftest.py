"""A small dataset in MVTec layout to break in one place at a time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Draw = Callable[..., Path]


@pytest.fixture
def draw() -> Draw:
    """Function that writes a picture of noise; another seed gives another picture."""

    def write(path: Path, seed: int = 0, size: tuple[int, int] = (8, 6)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size
        noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        return path

    return write


@pytest.fixture
def draw_mask() -> Draw:
    """Function that writes a mask, its left half at `level` and the rest at 0."""

    def write(path: Path, level: int = 255, size: tuple[int, int] = (8, 6)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        width, height = size
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[:, : width // 2] = level
        Image.fromarray(mask).save(path)
        return path

    return write


@pytest.fixture
def data(tmp_path: Path, draw: Draw, draw_mask: Draw) -> Path:
    """Folder with the category `nut`: 3 to train on, 2 normal and 2 + 1 defects to test on."""
    nut = tmp_path / "data" / "nut"
    names = [f"train/good/{i:03d}" for i in range(3)] + [f"test/good/{i:03d}" for i in range(2)]
    defects = ["test/crack/000", "test/crack/001", "test/bent/000"]
    for seed, name in enumerate(names + defects):
        draw(nut / f"{name}.png", seed)
    for name in defects:
        draw_mask(nut / f"{name.replace('test', 'ground_truth', 1)}_mask.png")
    return tmp_path / "data"
