"""Fixtures for the whole suite."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("RD4AD_SHARED", REPOSITORY.parent / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the reference material where it is absent."""
    if SHARED.is_dir():
        return
    skip = pytest.mark.skip(reason=f"reference material not found at {SHARED} (RD4AD_SHARED)")
    for item in items:
        if "shared" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Folder of golden tensors, real images and ImageNet weights; mark its users `shared`."""
    return SHARED


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of one category, `part`: 64 px stripes, defects are bright squares with masks."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    folders = {"train/good": 14, "test/good": 4, "test/spot": 4}
    for folder, n in folders.items():
        (root / "part" / folder).mkdir(parents=True)
        for i in range(n):
            image = np.tile(np.arange(64) % 8 * 20 + 40, (64, 1)) + rng.normal(0, 6, (64, 64))
            mask = np.zeros((64, 64), np.uint8)
            if folder == "test/spot":
                y, x = rng.integers(4, 40, 2)
                mask[y : y + 16, x : x + 16] = 255
                image[mask > 0] = 230
                masks = root / "part/ground_truth/spot"
                masks.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(masks / f"{i:03d}_mask.png")
            grey = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
            grey.convert("RGB").save(root / "part" / folder / f"{i:03d}.png")
    return root


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector trained for a few epochs on `tiny_data`."""
    from rd4ad.config import TrainingConfig
    from rd4ad.training import train

    out = tmp_path_factory.mktemp("checkpoint") / "part.safetensors"
    train(tiny_data, "part", TrainingConfig(**TINY), out=out)
    return out


TINY = {"backbone": "compact", "size_px": 64, "epochs": 6, "batch_size": 4, "holdout": 0.2}
