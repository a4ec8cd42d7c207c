"""Beside the released code itself: its networks, its map and its Gaussian, turn by turn with ours.

    python benchmarks/peers.py --released CHECKOUT

CHECKOUT is a copy of hq-deng/RD4AD, of which nothing is in this repository. Of its scripts only the
functions for map and loss are taken, since they import much else. Both sides have the same random
weights; the released code gets its image as a normalized tensor, ours as uint8.
"""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import ast
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from host import interleaved, summary, write
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from training import cached

from rd4ad.inference.detector import Detector
from rd4ad.inference.torch_engine import TorchEngine, normalize
from rd4ad.methods.reverse_distillation import ReverseDistillation

SIZE_PX, BATCH, REST_SECONDS = 256, 16, 0.2
ROUNDS, STEPS = {"resnet18": 15, "wide_resnet50_2": 8}, 5


def function_of(file: Path, name: str) -> Callable[..., Any]:
    """Return one function of a script, without running the rest of it."""
    tree = ast.parse(file.read_text())
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    space: dict[str, Any] = {"np": np, "torch": torch, "F": F}
    exec(compile(ast.Module(found, []), str(file), "exec"), space)
    function: Callable[..., Any] = space[name]
    return function


def networks(checkout: Path, backbone: str) -> tuple[torch.nn.Module, ...]:
    """Return encoder, bottleneck and decoder of the released code, norms settled on some noise."""
    sys.path.insert(0, str(checkout))
    encoder, bottleneck = getattr(import_module("resnet"), backbone)(pretrained=False)
    decoder = getattr(import_module("de_resnet"), f"de_{backbone}")(pretrained=False)
    sys.path.pop(0)
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(3):
            decoder(bottleneck(encoder(torch.randn(4, 3, SIZE_PX, SIZE_PX))))
    return encoder.eval(), bottleneck.eval(), decoder.eval()


def compare(checkout: Path) -> None:
    """Write results/bench/released.json."""
    torch.manual_seed(0)
    map_of = function_of(checkout / "test.py", "cal_anomaly_map")
    loss_of = function_of(checkout / "main.py", "loss_fucntion")
    rows: list[dict[str, Any]] = []
    ratios: list[dict[str, Any]] = []
    apart = []
    for backbone, rounds in ROUNDS.items():
        encoder, bottleneck, decoder = networks(checkout, backbone)
        with tempfile.TemporaryDirectory() as folder:
            detector, method = ours(Path(folder), backbone, encoder, bottleneck, decoder)
            image = np.random.default_rng(0).integers(0, 256, (1, SIZE_PX, SIZE_PX, 3), np.uint8)
            given = normalize(image)

            def theirs(
                given: torch.Tensor = given, nets: tuple[Any, ...] = (encoder, bottleneck, decoder)
            ) -> NDArray[np.float64]:
                with torch.no_grad():
                    features = nets[0](given)
                    found, _ = map_of(features, nets[2](nets[1](features)), SIZE_PX, amap_mode="a")
                smoothed: NDArray[np.float64] = gaussian_filter(found, sigma=4)
                return smoothed

            def judged(detector: Detector = detector, image: NDArray[np.uint8] = image) -> Any:
                return detector.judge(detector.distances(image))[0].anomaly_map

            difference = float(np.abs(theirs() - judged()).max())
            seconds = interleaved(
                {f"released, one image, {backbone}": theirs, f"one image, {backbone}": judged},
                rounds, REST_SECONDS,
            )  # fmt: skip
        said = f"{backbone}: maps apart by {difference:.1e} at most"
        if backbone == "resnet18":
            images = torch.randn(BATCH, 3, SIZE_PX, SIZE_PX)
            step = released_step(encoder, bottleneck, decoder, loss_of, images)
            with torch.no_grad():
                first = float(method.train().loss(method.teacher(images)))
            said += f", losses of a first step by {abs(first - step()):.1e}"
            mine = cached(backbone, images)
            mine()
            seconds |= interleaved(
                {
                    f"released, training step of {BATCH}, {backbone}": step,
                    f"training step of {BATCH}, {backbone}": mine,
                },
                STEPS, REST_SECONDS,
            )  # fmt: skip
        apart.append(said)
        rows += [{"case": name} | summary(taken) for name, taken in seconds.items()]
        for name in [name for name in seconds if not name.startswith("released")]:
            pairs = zip(seconds[f"released, {name}"], seconds[name], strict=True)
            middle = float(np.median([a / b for a, b in pairs]))
            ratios.append({"ratio": f"released / ours: {name}", "median": round(middle, 2)})
    note = (
        f"hq-deng/RD4AD, {SIZE_PX} px, batch 1, {torch.get_num_threads()} threads, the same random "
        f"weights. {'; '.join(apart)}. A released step runs the teacher and its backward pass; "
        "here the teacher's features are kept."
    )
    write("released", rows, ratios, note)


def ours(
    home: Path, backbone: str, encoder: Any, bottleneck: Any, decoder: Any
) -> tuple[Detector, ReverseDistillation]:
    """Return our detector, as it is used, and its method, with the weights of theirs."""
    wanted = ("conv1", "bn1", "layer1", "layer2", "layer3")
    teacher = {k: v.contiguous() for k, v in encoder.state_dict().items() if k.startswith(wanted)}
    weights = home / f"{backbone}.safetensors"
    save_file(teacher, weights)
    parts = {"bn": bottleneck.state_dict(), "decoder": decoder.state_dict()}
    torch.save(parts, home / "released.pth")
    found = Detector.from_official(home / "released.pth", backbone=backbone, weights=weights)
    assert isinstance(found.engine, TorchEngine)
    method = found.engine.module
    assert isinstance(method, ReverseDistillation)
    found.save(home / "ours.safetensors")
    detector = Detector.load(home / "ours.safetensors", weights=home)
    assert detector.engine.name == "onnx"
    return detector, method


def released_step(
    encoder: Any, bottleneck: Any, decoder: Any, loss_of: Callable[..., Any], images: torch.Tensor
) -> Callable[[], float]:
    """Return a training step as the released main.py takes it."""
    bottleneck.train()
    decoder.train()
    trained = [*decoder.parameters(), *bottleneck.parameters()]
    optimizer = torch.optim.Adam(trained, lr=0.005, betas=(0.5, 0.999))

    def step() -> float:
        features = encoder(images)
        loss = loss_of(features, decoder(bottleneck(features)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss)

    return step
