"""Time a training step as it is done here against a plain loop that asks the teacher every time."""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import statistics
from collections.abc import Callable

import torch
from host import IS_QUICK, interleaved, summary, write

from rd4ad.config import TrainingConfig
from rd4ad.methods.reverse_distillation import ReverseDistillation

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


def cached(backbone: str, images: torch.Tensor, precision: str = "float32") -> Callable[[], None]:
    """Return a step as `ReverseDistillation.fit` takes it, on features that are there already."""
    torch.manual_seed(0)
    method = ReverseDistillation(backbone).train().to(images.device)
    parts = method.fitted_parts().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(parts.parameters(), lr=0.005, betas=(0.5, 0.999), fused=True)
    with torch.no_grad():
        features = [
            layer.contiguous(memory_format=torch.channels_last) for layer in method.teacher(images)
        ]
    lower = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    loss_of = method.step_loss(features, TrainingConfig(precision=precision))

    def step() -> None:
        with lower:
            loss = loss_of(features)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Measure and write results/bench/training.json."""
    rows, ratios = [], []
    for backbone, size_px in CASES[:1] if IS_QUICK else CASES:
        images = torch.randn(BATCH, 3, size_px, size_px)
        steps = {
            "plain loop": plain(backbone, images),
            "as trained here": cached(backbone, images),
            "as trained here, bfloat16": cached(backbone, images, "bfloat16"),
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
