"""A narrow ResNet-18 that begins where the wide one is: its layers are solved, not drawn.

Layer by layer, from the image on, a subset of the wide net's channels is chosen (those that span
the others best, by QR with pivoting), and the narrow net's convolution is the least-squares
solution that predicts them from what the narrow net itself has computed so far. A shortcut and the
last convolution of a block are solved together. So every layer makes up for the errors before it.

Source: the reconstruction step of He et al., "Channel Pruning for Accelerating Very Deep Neural
Networks", ICCV 2017.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import qr
from torch import Tensor, nn

from rd4ad.methods.backbones import Teacher

RIDGE = 1e-4  # of the mean of the normal equations' diagonal
_AT_ONCE = 16  # images whose patches are in memory


@torch.no_grad()
def fill_from(wide: Teacher, narrow: Teacher, images: Tensor) -> None:
    """Set the narrow teacher's weights so that it computes what a subset of the wide one's does.

    Args:
        wide: of basic blocks, with its weights.
        narrow: of as many basic blocks, with a neck; overwritten.
        images: normalized images (N, 3, S, S) on which they have to agree.
    """
    x = wide.relu(wide.bn1(wide.conv1(images)))
    chosen = spanning_channels(x, narrow.conv1.out_channels)
    _solve([(narrow.conv1, narrow.bn1, images)], _before_relu(wide.conv1, wide.bn1, images, chosen))
    y = narrow.relu(narrow.bn1(narrow.conv1(images)))
    x, y = wide.maxpool(x), narrow.maxpool(y)
    for index in (1, 2, 3):
        stages: Any = [net.get_submodule(f"layer{index}") for net in (wide, narrow)]
        if index > 1:
            chosen = spanning_channels(stages[0](x), stages[1][0].conv2.out_channels)
        for block, small in zip(*stages, strict=True):
            x, y = _fill_block(block, small, x, y, chosen)
        if len(narrow.neck):
            projection: Any = narrow.neck[index - 1]
            convolution, norm, _ = projection
            kept = spanning_channels(x, convolution.out_channels)
            _solve([(convolution, norm, y)], x[:, kept])


def _fill_block(
    block: Any, small: Any, x: Tensor, y: Tensor, chosen: NDArray[np.int64]
) -> tuple[Tensor, Tensor]:
    """Fill one narrow block; return what the wide and the narrow one give."""
    inner = block.relu(block.bn1(block.conv1(x)))
    picked = spanning_channels(inner, small.conv1.out_channels)
    _solve([(small.conv1, small.bn1, y)], _before_relu(block.conv1, block.bn1, x, picked))
    narrow_inner = small.relu(small.bn1(small.conv1(y)))
    shortcut = x if block.downsample is None else block.downsample(x)
    wanted = (block.bn2(block.conv2(inner)) + shortcut)[:, chosen]
    if small.downsample is None:
        _solve([(small.conv2, small.bn2, narrow_inner)], wanted - y)
    else:
        convolution, norm = small.downsample
        _solve([(small.conv2, small.bn2, narrow_inner), (convolution, norm, y)], wanted)
    return block(x), small(y)


def spanning_channels(features: Tensor, count: int) -> NDArray[np.int64]:
    """Return the `count` channels of features (N, C, h, w) that predict the others best, sorted.

    >>> a = torch.rand(1, 1, 8, 8)
    >>> spanning_channels(torch.cat([0.1 * a, a, torch.rand(1, 1, 8, 8)], 1), 2).tolist()
    [1, 2]
    """
    rows = features.transpose(0, 1).flatten(1)  # (C, N*h*w)
    rows = rows[:, :: max(1, rows.shape[1] // 20_000)]
    rows = rows - rows.mean(1, keepdim=True)
    _, _, order = qr(rows.T.double().numpy(), mode="economic", pivoting=True)
    return np.sort(order[:count])


def _before_relu(
    convolution: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor, channels: NDArray[np.int64]
) -> Tensor:
    before: Tensor = norm(convolution(x))[:, channels]
    return before


Part = tuple[nn.Conv2d, nn.BatchNorm2d, Tensor]


def _solve(parts: list[Part], wanted: Tensor) -> None:
    """Set convolutions whose sum predicts `wanted` (N, K, h, w) by least squares, and their norms.

    Args:
        parts: convolution, the batch norm after it, and its input (N, C, H, W).
        wanted: their sum.
    """
    k = wanted.shape[1]
    size = 1 + sum(convolution.weight[0].numel() for convolution, _, _ in parts)
    left, right = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, k).double()
    for start in range(0, len(wanted), _AT_ONCE):
        here = slice(start, start + _AT_ONCE)
        columns = [_patches(convolution, x[here]) for convolution, _, x in parts]
        rows = torch.cat([*columns, torch.ones(len(columns[0]), 1)], 1)
        left += (rows.T @ rows).double()
        right += (rows.T @ wanted[here].permute(0, 2, 3, 1).reshape(-1, k)).double()
    left.diagonal().add_(RIDGE * left.diagonal().mean())
    solution = torch.linalg.solve(left, right).float()
    bias, place = solution[-1], 0
    for convolution, norm, x in parts:
        count = convolution.weight[0].numel()
        weight = solution[place : place + count].T
        convolution.weight.copy_(weight.reshape(convolution.weight.shape))
        place += count
        _set_norm(norm, convolution(x), bias)
        bias = torch.zeros_like(bias)


def _patches(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """Return the input patches of every output position, (N*h*w, C*k*k)."""
    kernel, stride, padding = convolution.kernel_size, convolution.stride, convolution.padding
    columns = F.unfold(x, kernel, stride=stride, padding=padding)  # type: ignore[arg-type]
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


def _set_norm(norm: nn.BatchNorm2d, found: Tensor, bias: Tensor) -> None:
    """Set a batch norm that adds `bias` and changes nothing else, in training mode too."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = found.mean((0, 2, 3)), found.var((0, 2, 3))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(mean + bias)
