"""Time a training step as it is done here against a plain loop that asks the teacher every time."""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import statistics
from collections.abc import Callable

import torch
from host import IS_QUICK, interleaved, summary, write

from rd4ad.config import TrainingConfig
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.training.category import new_method

CASES = (("resnet18", 256), ("resnet18", 128), ("compact", 256))
BATCH, ROUNDS = 16, 7


def plain(backbone: str, images: torch.Tensor) -> Callable[[], None]:
    """Return a step of the loop that one would write first: nothing kept, nothing laid out."""
    torch.manual_seed(0)
    method = ReverseDistillation(backbone).train().to(images.device)
    parts = method.fitted_parts().parameters()
    optimizer = torch.optim.Adam(parts, lr=0.005, betas=(0.5, 0.999))

    def step() -> None:
        with torch.no_grad():
            features = method.teacher(images)
        loss = method.loss(features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


class CachedStep:
    """A step as `ReverseDistillation.fit` takes it, on features that are there already.

    Args:
        backbone: of the method.
        images: (B, 3, S, S), where the step is to be taken.
        precision: float32 or bfloat16.
    """

    def __init__(self, backbone: str, images: torch.Tensor, precision: str = "float32") -> None:
        config = TrainingConfig(backbone=backbone, precision=precision)
        method = new_method(config, {}, None)
        assert isinstance(method, ReverseDistillation)
        method.train().to(images.device)
        self.parts = method.fitted_parts()
        self._optimizer = torch.optim.Adam(
            self.parts.parameters(), lr=0.005, betas=(0.5, 0.999), fused=True
        )
        with torch.no_grad():
            self._features = [
                layer.contiguous(memory_format=torch.channels_last)
                for layer in method.teacher(images)
            ]
        self._lower = torch.autocast(
            images.device.type, torch.bfloat16, enabled=precision == "bfloat16"
        )
        self._loss_of = method.step_loss(self._features, config)

    def __call__(self) -> None:
        """Take it."""
        with self._lower:
            loss = self._loss_of(self._features)
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()


def main() -> None:
    """Measure and write results/bench/training.json."""
    rows, ratios = [], []
    for backbone, size_px in CASES[:1] if IS_QUICK else CASES:
        images = torch.randn(BATCH, 3, size_px, size_px)
        steps: dict[str, Callable[[], None]] = {
            "plain loop": plain(backbone, images),
            "as trained here": CachedStep(backbone, images),
            "as trained here, bfloat16": CachedStep(backbone, images, "bfloat16"),
        }
        for step in steps.values():
            step()  # first calls allocate
        seconds = interleaved(steps, ROUNDS)
        for name, values in seconds.items():
            per_image = [value / BATCH for value in values]
            rows.append(
                {"case": f"{backbone} {size_px} px, {name}, per image"} | summary(per_image)
            )
            pairs = zip(seconds["plain loop"], values, strict=True)
            if name != "plain loop":
                ratios.append(
                    {
                        "ratio": f"{backbone} {size_px} px: plain loop / {name}",
                        "median": round(statistics.median(a / b for a, b in pairs), 2),
                    }
                )
    note = (
        f"One optimizer step, batch {BATCH}, {torch.get_num_threads()} threads. Here: teacher "
        "features kept, channels last, fused Adam."
    )
    write("training", rows, ratios, note)


if __name__ == "__main__":
    main()
