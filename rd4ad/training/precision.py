"""In which precision to train on a processor: found out by a trial of less than a second."""

from functools import cache
from pathlib import Path
from time import perf_counter

import torch

from rd4ad.training.session import recorded

_SIDE, _ROUNDS = 768, 5
_TIMES_FASTER = 1.5  # converting to and fro takes part of what the products gain
_FARTHEST = 2**-7  # of a product's own size: what 8 bits of mantissa leave of sums of many terms


def chosen_precision(out: Path, device: str = "cpu") -> str:
    """Return the precision of the unfinished training of a checkpoint, else the quickest one.

    Args:
        out: the checkpoint to be.
        device: a torch device.
    """
    return str((recorded(out) or {}).get("precision") or quickest_precision(device))


@cache
def quickest_precision(device: str = "cpu") -> str:
    """Return "bfloat16" where products in it are right and 1.5 times as fast, else "float32".

    Processors without it compute bfloat16 by conversions, several times slower than float32; others
    are two to four times faster.

    >>> quickest_precision() in ("float32", "bfloat16")
    True

    Args:
        device: a torch device.
    """
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand(_SIDE, _SIDE, generator=generator).to(device) for _ in range(2))
    lower = [matrix.bfloat16() for matrix in (one, other)]
    exact, found = one @ other, lower[0] @ lower[1]  # what is made at first use is made
    if float((found.float() - exact).abs().max() / exact.abs().max()) > _FARTHEST:
        return "float32"

    def seconds(first: torch.Tensor, second: torch.Tensor) -> float:
        began = perf_counter()
        float((first @ second)[0, 0])  # waits for a GPU too
        return perf_counter() - began

    pairs = [(seconds(one, other), seconds(*lower)) for _ in range(_ROUNDS)]
    whole, half = (min(taken) for taken in zip(*pairs, strict=True))
    return "bfloat16" if whole > _TIMES_FASTER * half else "float32"
