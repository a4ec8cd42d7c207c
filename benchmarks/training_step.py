"""Where the time of a training step goes, layer by layer, against the rate of a matrix product.

What a convolution could take at best is its arithmetic at the rate of a large matrix product in
the same precision, measured between the steps. A convolution's time holds what it does to lay its
operands out for itself, and what autocast does to round them.
"""

import rd4ad  # noqa: F401, before NumPy, as in every command: it chooses how NumPy sorts

# isort: split
import statistics
from collections import Counter
from dataclasses import dataclass
from math import prod
from time import perf_counter
from typing import Any

import torch
from host import IS_QUICK, write
from torch import nn
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile
from training import BATCH, CASES, CachedStep

ROUNDS, SIDE = 5, 2048
KINDS = (  # by the operation that calls what takes the time; the first that fits
    ("convolutions", ("aten::conv2d", "aten::conv_transpose2d", "ConvolutionBackward0")),
    ("batch norm", ("aten::batch_norm", "NativeBatchNormBackward0")),
    ("Adam", ("Optimizer.step#Adam.step",)),
    ("ReLU, sums, joining", ("aten::relu_", "aten::add", "aten::cat", "ReluBackward0",
                             "AddBackward0", "CatBackward0")),
    ("rounding to bfloat16 and back", ("ToCopyBackward0",)),
)  # fmt: skip
REST = "loss and the rest"


@dataclass
class Layer:
    """Convolutions of one shape.

    Args:
        name: what it is.
        n: how many of them.
        gflop: of one step, all of them, forward and backward.
    """

    name: str
    n: int = 0
    gflop: float = 0.0


def layers_of(step: CachedStep) -> dict[tuple[int, ...], Layer]:
    """Return the convolutions by the shape of their weights; a step is taken for it."""
    found: dict[tuple[int, ...], Layer] = {}

    def note(module: nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        is_up = isinstance(module, nn.ConvTranspose2d)
        side = made.shape[-1]
        name = (
            f"{'up ' if is_up else ''}{module.kernel_size[0]}x{module.kernel_size[1]}, "
            f"{module.in_channels} to {module.out_channels}, {side}x{side} px"
        )
        layer = found.setdefault(tuple(module.weight.shape), Layer(name))
        pixels = given[0] if is_up else made  # where each weight is used once a pixel
        products = BATCH * prod(pixels.shape[-2:]) * module.weight.numel()
        passes = 3 if given[0].requires_grad else 2  # the gradient of the input, if any
        layer.n, layer.gflop = layer.n + 1, layer.gflop + 2e-9 * passes * products

    hooks = [
        module.register_forward_hook(note)
        for module in step.parts.modules()
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
    ]
    step()
    for hook in hooks:
        hook.remove()
    return found


def kind_of(event: FunctionEvent) -> tuple[str, tuple[int, ...]]:
    """Return what an operation belongs to, and the shape of the weights if that is known."""
    shape: tuple[int, ...] = ()
    above: FunctionEvent | None = event
    callers = []
    while above is not None:
        callers.append(above.name)
        if above.name in ("aten::conv2d", "aten::conv_transpose2d"):
            shape = shapes_of(above)[1]
        elif above.name == "aten::convolution_backward":
            shape = shapes_of(above)[2]
        above = above.cpu_parent
    for kind, names in KINDS:
        if any(caller in names for caller in callers):
            return kind, shape
    return REST, shape


def shapes_of(event: FunctionEvent) -> list[tuple[int, ...]]:
    """Return the shapes of what an operation was given; of what is no tensor, ()."""
    return [tuple(shape) for shape in event.input_shapes]  # type: ignore[arg-type]  # torch's stub


def product_seconds(dtype: torch.dtype) -> float:
    """Return the seconds of one large matrix product."""
    one, other = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    began = perf_counter()
    torch.mm(one, other)
    return perf_counter() - began


def account(backbone: str, size_px: int, precision: str) -> list[dict[str, Any]]:
    """Return rows of where a step's time goes; the first is the step itself."""
    step = CachedStep(backbone, torch.randn(BATCH, 3, size_px, size_px), precision)
    layers = layers_of(step)
    dtype = getattr(torch, precision)
    product_seconds(dtype)
    spent: Counter[tuple[str, tuple[int, ...]]] = Counter()
    walls, products = [], []
    rounds = 2 if IS_QUICK else ROUNDS
    for _ in range(rounds):
        products.append(product_seconds(dtype))
        began = perf_counter()
        step()
        walls.append(perf_counter() - began)
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as watched:
            step()
        for event in watched.events() or []:
            spent[kind_of(event)] += event.self_cpu_time_total / 1000 / rounds
    rate = 2e-9 * SIDE**3 / statistics.median(products)
    total = sum(spent.values())
    gflop = sum(layer.gflop for layer in layers.values())

    def row(part: str, ms: float, gflop: float | None) -> dict[str, Any]:
        told: dict[str, Any] = {"part": part, "ms": round(ms, 1), "share": f"{ms / total:.1%}"}
        if gflop:
            told |= {"GFLOP": round(gflop, 2), "of_product": round(1000 * gflop / ms / rate, 2)}
        return told

    case = f"{backbone} {size_px} px, {precision}"
    rows = [row(f"{case}: step", 1000 * statistics.median(walls), gflop)]
    rows[0] |= {"share": "", "product_GFLOP_per_s": round(rate, 1)}
    by_kind: Counter[str] = Counter()
    for (kind, _), ms in spent.items():
        by_kind[kind] += ms
    for kind, ms in by_kind.most_common():
        rows.append(row(kind, ms, gflop if kind == "convolutions" else None))
    for shape, layer in sorted(layers.items(), key=lambda pair: -pair[1].gflop):
        rows.append(row(f"{layer.n} x {layer.name}", spent["convolutions", shape], layer.gflop))
    return rows


def main() -> None:
    """Measure and write results/bench/training_step.json."""
    rows, ratios = [], []
    for backbone, size_px in CASES[:1] if IS_QUICK else CASES:
        for precision in ("float32", "bfloat16"):
            found = account(backbone, size_px, precision)
            rows += found
            ratios.append(
                {
                    "ratio": f"{found[0]['part']} / its convolutions at a matrix product's rate",
                    "median": round(1 / found[0]["of_product"], 2),
                }
            )
    note = (
        f"One step, batch {BATCH}, {torch.get_num_threads()} threads; teacher features kept, "
        "channels last, fused Adam. of_product: the rate of the convolutions' arithmetic, forward "
        f"and backward, against that of a product of two {SIDE}x{SIDE} matrices in the same "
        "precision, measured between the steps. Shares are of the profiled operations."
    )
    write("training_step", rows, ratios, note)


if __name__ == "__main__":
    main()
