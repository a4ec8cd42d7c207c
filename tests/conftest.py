"""Fixtures for the whole suite."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image

from rd4ad.runs.run import Run
from rd4ad.runs.store import read_run

# A slow moment of the machine is no failure, and a run of the tests is like the one before.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")
REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("RD4AD_SHARED", REPOSITORY.parent / "shared"))
# A job in a shell's background ignores Ctrl-C, and so does all that it starts; the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)


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
    """A dataset of one category, `part`: 64 px stripes, defects are bright squares with masks."""
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
            gray = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
            gray.convert("RGB").save(root / "part" / folder / f"{i:03d}.png")
    return root


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector trained for a few epochs on `tiny_data`."""
    from rd4ad.config import TrainingConfig
    from rd4ad.training.category import train

    out = tmp_path_factory.mktemp("checkpoint") / "part.safetensors"
    train(tiny_data, "part", TrainingConfig(**TINY), out=out)
    return out


TINY = {"backbone": "compact", "size_px": 64, "epochs": 6, "batch_size": 4, "holdout": 0.2}


@pytest.fixture(scope="session")
def part_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published metrics, a run of the generated transistor with masks, its detector, a digit's."""
    from rd4ad import Detector, evaluate
    from rd4ad.config import TrainingConfig
    from rd4ad.data.parts import write_parts
    from rd4ad.runs.index import update_index
    from rd4ad.training.category import train

    data = tmp_path_factory.mktemp("parts")
    write_parts(data, categories=("transistor",), n_train=12, n_good=4, n_per_defect=3)
    results = tmp_path_factory.mktemp("results")
    shutil.copytree(REPOSITORY / "results/published", results / "published")
    checkpoint = results / "detectors/transistor.safetensors"
    config = TrainingConfig(backbone="compact", size_px=64, epochs=4, batch_size=4, holdout=0.3)
    train(data, "transistor", config, out=checkpoint)
    evaluate(
        Detector.load(checkpoint), data, "transistor", dataset="Generated parts",
        results=results, keep_masks=True,
    )  # fmt: skip
    shutil.copy(REPOSITORY / "results/detectors/mnist_3.safetensors", checkpoint.parent)
    update_index(results)
    return results


@pytest.fixture(scope="session")
def stored_tile() -> Run:
    """The stored run of the generated part tile, with its maps and masks."""
    return read_run(next((REPOSITORY / "results/runs").glob("rd-Generated_parts-tile-*")))


@pytest.fixture(scope="session")
def write_idx() -> Callable[[Path, np.ndarray], None]:
    """Function that writes bytes as an IDX file, in the layout of MNIST."""

    def write(path: Path, array: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        lengths = np.array(array.shape, ">u4").tobytes()
        path.write_bytes(bytes([0, 0, 8, array.ndim]) + lengths + array.tobytes())

    return write


@pytest.fixture(scope="session")
def novelty_data(write_idx, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FashionMNIST's files with bars in ten places: 4 training and 3 test images each."""
    data = tmp_path_factory.mktemp("novelty")
    rng = np.random.default_rng(0)
    for split, n in (("train", 4), ("t10k", 3)):
        labels = np.repeat(np.arange(10, dtype=np.uint8), n)
        images = rng.integers(0, 40, (len(labels), 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 2 + 2 * label : 5 + 2 * label] += 200
        write_idx(data / f"FashionMNIST/raw/{split}-images-idx3-ubyte", images)
        write_idx(data / f"FashionMNIST/raw/{split}-labels-idx1-ubyte", labels)
    return data


@pytest.fixture(scope="session")
def novelty_results(
    novelty_data: Path, novelty_config, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Published metrics, and a run of every class of `novelty_data`."""
    from rd4ad.data.one_class import NOVELTY_SETS
    from rd4ad.evaluation.one_class import Protocol, measure
    from rd4ad.runs.index import update_index

    results = tmp_path_factory.mktemp("novelty_results")
    shutil.copytree(REPOSITORY / "results/published", results / "published")
    protocol = Protocol(dataset="fashion_mnist", config=novelty_config)
    classes = NOVELTY_SETS["fashion_mnist"].classes
    measure(protocol, classes, data=novelty_data, results=results)
    update_index(results)
    return results


@pytest.fixture(scope="session")
def novelty_config():
    """One epoch of the bundled teacher at 32 px."""
    from rd4ad.config import TrainingConfig
    from rd4ad.data.one_class import PROTOCOL

    return TrainingConfig(**PROTOCOL | {"backbone": "compact", "epochs": 1, "batch_size": 4})


@pytest.fixture(scope="session")
def address(part_results: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The whole application in a process of its own, started from an unrelated folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment = os.environ | {
        "RD4AD_RESULTS": str(part_results),
        "GRADIO_TEMP_DIR": str(elsewhere / "gradio"),
        # All tests together are one very busy client; what the limits do, tests/web/test_limits.py.
        **dict.fromkeys(("RD4AD_PER_MINUTE", "RD4AD_PER_MINUTE_TOTAL", "RD4AD_SESSIONS"), "0"),
        "RD4AD_SESSIONS_TOTAL": "0",
    }
    command = [sys.executable, "-m", "rd4ad.cli", "serve", "--port", str(port)]
    with (elsewhere / "errors").open("w") as errors:
        server = subprocess.Popen(command, cwd=elsewhere, env=environment, stderr=errors)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            assert server.poll() is None, (elsewhere / "errors").read_text()
            try:
                urllib.request.urlopen(f"{url}/healthz").close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            pytest.fail("the server did not answer within a minute")
        yield url
    finally:
        server.terminate()
        server.wait(timeout=20)
