"""A coreset: few rows that lie near all rows. In NumPy, so that a memory is built without torch.

Greedy k-center: from the row farthest from the mean on, the row farthest from all chosen ones is
chosen next, so that every row ends near a chosen one (at most twice as far as any choice of as many
could reach).

Source: Roth et al., "Towards Total Recall in Industrial Anomaly Detection", CVPR 2022,
algorithm 1, with the random projection of its section 3.2.
"""

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float32]

N_NEIGHBORS = 9
"""Rows around the nearest one that weigh an image's score; b in rd4ad.methods.patchcore."""
SEARCHED_AT_ONCE = 4096
"""Rows of a memory: their distances to the 1,024 patches of an image take 16 MB."""
N_PROJECTED = 128  # columns that distances are computed on; amazon-science/patchcore-inspection
_CANDIDATES = 192  # compared at once
_CHOSEN = -1.0  # instead of a distance: never twice, even where rows are equal
_AT_ONCE = 1 << 20  # results of a matrix product, 4 MB: they stay in a core's cache


def greedy_coreset(rows: Rows, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Return the indices of `count` rows of (N, D), the first being farthest from the mean.

    >>> greedy_coreset(np.array([[0], [1], [2], [9]], np.float32), 3).tolist()
    [3, 0, 2]

    Time grows as count * N * min(D, `N_PROJECTED`), memory as N. One step at a time would read all
    rows for each that is chosen. Instead, the farthest `_CANDIDATES` are compared with each other:
    as long as the farthest of them is farther than any other row was before, it is the next choice,
    since distances only shrink. Then all rows see what was chosen in one matrix product.

    Args:
        rows: (N, D).
        count: of rows to choose, at most N.
        seed: of the projection; none is drawn for rows of at most `N_PROJECTED` columns.

    Raises:
        ValueError: not 1 <= count <= N.
    """
    if not 1 <= count <= len(rows):
        raise ValueError(f"a coreset of {len(rows)} rows has between 1 and as many; got {count}")
    points = _projected(rows, seed)
    nearest = squared_distances(points, points.mean(0, keepdims=True))
    chosen = [int(nearest.argmax())]
    nearest = squared_distances(points, points[chosen])
    nearest[chosen] = _CHOSEN
    while len(chosen) < count:
        picked = _next(points, nearest, count - len(chosen))
        np.minimum(nearest, squared_distances(points, points[picked]), out=nearest)
        nearest[picked] = _CHOSEN
        chosen += picked
    return np.array(chosen)


def _projected(rows: Rows, seed: int) -> Rows:
    if rows.shape[1] <= N_PROJECTED:
        return np.asarray(rows, np.float32)
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows.shape[1], N_PROJECTED), np.float32)
    projected: Rows = rows @ (matrix / np.sqrt(np.float32(N_PROJECTED)))
    return projected


def grid(side: int) -> NDArray[np.float32]:
    """Return rows and columns of positions as shares of the side, (2, side, side).

    >>> grid(2)[0].tolist()
    [[0.25, 0.25], [0.75, 0.75]]
    """
    steps = (np.arange(side, dtype=np.float32) + 0.5) / side
    return np.stack(np.meshgrid(steps, steps, indexing="ij"))


def squared_distances(points: Rows, others: Rows) -> Rows:
    """Return each point's squared distance (N,) to the nearest of the others.

    >>> squared_distances(np.float32([[0, 3]]), np.float32([[9, 9], [4, 0]])).tolist()
    [25.0]

    Args:
        points: (N, D).
        others: (M, D).
    """
    negative, own = -2 * others.T, np.einsum("ij,ij->i", others, others)
    step = max(1, _AT_ONCE // len(others))
    found = np.empty(len(points), np.float32)
    for start in range(0, len(points), step):
        here = slice(start, start + step)
        products = points[here] @ negative
        products += own
        found[here] = products.min(1)
    return np.maximum(found + np.einsum("ij,ij->i", points, points), 0)


def _next(points: Rows, nearest: Rows, at_most: int) -> list[int]:
    """Return the next choices, as many as are certain, at least one."""
    n_candidates = min(_CANDIDATES, len(points) - 1)
    farthest = np.argpartition(-nearest, n_candidates)
    candidates = np.sort(farthest[:n_candidates])  # of equal ones the first
    bound = nearest[farthest[n_candidates]]
    distances = nearest[candidates].copy()
    block = points[candidates]
    own = np.einsum("ij,ij->i", block, block)
    between = np.maximum(own[:, None] + own - 2 * block @ block.T, 0)
    picked: list[int] = []
    while len(picked) < min(at_most, n_candidates):
        best = int(distances.argmax())
        if picked and distances[best] <= bound:
            break
        picked.append(int(candidates[best]))
        distances = np.minimum(distances, between[best])
        distances[best] = _CHOSEN
    return picked
