"""Time a training step on cached teacher features against one that asks the teacher every time."""

import statistics

import torch
from host import IS_QUICK, interleaved, summary, write

from rd4ad.methods.reverse_distillation import ReverseDistillation

CASES = (("resnet18", 256), ("resnet18", 128), ("compact", 256))
BATCH, ROUNDS = 16, 7


def main() -> None:
    """Measure and write results/bench/training.json."""
    rows, ratios = [], []
    for backbone, size_px in CASES[:1] if IS_QUICK else CASES:
        torch.manual_seed(0)
        method = ReverseDistillation(backbone).train()
        parts = method.fitted_parts().parameters()
        optimizer = torch.optim.Adam(parts, lr=0.005, betas=(0.5, 0.999))
        images = torch.randn(BATCH, 3, size_px, size_px)
        with torch.no_grad():
            features = method.teacher(images)

        def step(given: list[torch.Tensor]) -> None:
            loss = method.loss(given)  # noqa: B023  (called within this round of the loop)
            optimizer.zero_grad()  # noqa: B023
            loss.backward()
            optimizer.step()  # noqa: B023

        def plain() -> None:
            with torch.no_grad():
                given = method.teacher(images)  # noqa: B023
            step(given)

        step(features)  # first calls allocate
        seconds = interleaved({"cached": lambda: step(features), "plain": plain}, ROUNDS)  # noqa: B023
        for name, values in seconds.items():
            per_image = [value / BATCH for value in values]
            rows.append(
                {"case": f"{backbone} {size_px} px, {name}, per image"} | summary(per_image)
            )
        pairs = zip(seconds["plain"], seconds["cached"], strict=True)
        ratios.append(
            {
                "ratio": f"plain / cached, {backbone} {size_px} px",
                "median": round(statistics.median(a / b for a, b in pairs), 2),
            }
        )
    note = f"One optimiser step, batch {BATCH}, {torch.get_num_threads()} threads, float32."
    write("training", rows, ratios, note)


if __name__ == "__main__":
    main()
