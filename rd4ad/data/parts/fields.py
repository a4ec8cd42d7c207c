"""Building blocks of the generated parts: noise, shapes, strokes, light and color on one grid.

Every scene is drawn in linear light on a grid of 512 x 512 points and photographed at 256 px or so;
lengths and positions are in px of a 256 px image, so the grid's step is half a px. Fields are
float32.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

GRID = 512
EXTENT_PX = 256.0
STEP_PX = EXTENT_PX / GRID
CENTER_PX = EXTENT_PX / 2
FAR_PX = 1e3
LIGHT = (-0.5, -0.55, 0.67)  # towards the lamp: x right, y down, z out of the picture

Field = NDArray[np.floating]
Point = tuple[float, float]  # x, y


@dataclass(frozen=True)
class Scene:
    """What the camera sees.

    Args:
        light: (512, 512, 3) linear light, 0 black to 1 white.
        defect: (512, 512) share of each point that the defect altered, 0 to 1.
    """

    light: Field
    defect: Field


@dataclass(frozen=True)
class Stroke:
    """Where each point lies relative to a drawn curve, in px.

    Args:
        distance: to the curve; FAR_PX beyond `reach_px`.
        along: length of the curve up to the nearest point.
        side: -1 right, +1 left of the direction of travel.
        length: of the whole curve.
    """

    distance: Field
    along: Field
    side: Field
    length: float


def color(code: str) -> Field:
    """Return linear light (3,) for an sRGB code: `color("#ffffff")` is white.

    >>> color("#ffffff").tolist()
    [1.0, 1.0, 1.0]
    """
    values = [int(code[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return np.array([v**2.2 for v in values], np.float32)


@cache
def coordinates() -> tuple[Field, Field]:
    """Return open grids y (512, 1) and x (1, 512) in px.

    >>> y, x = coordinates()
    >>> x[0, :3].tolist(), float(y[-1, 0])
    ([0.25, 0.75, 1.25], 255.75)
    """
    axis = ((np.arange(GRID) + 0.5) * STEP_PX).astype(np.float32)
    return axis[:, None], axis[None, :]


def empty() -> Field:
    """Return a field of zeros: no defect anywhere.

    >>> empty().shape, bool(empty().any())
    ((512, 512), False)
    """
    return np.zeros((GRID, GRID), np.float32)


def turned(angle: float, center: Point = (CENTER_PX, CENTER_PX)) -> tuple[Field, Field]:
    """Return coordinates (u, v) about `center`, turned by `angle` radians (clockwise on screen).

    >>> u, v = turned(0.0, center=(0.25, 0.25))
    >>> u[0, :3].tolist(), v[:3, 0].tolist()
    ([0.0, 0.5, 1.0], [0.0, 0.5, 1.0])
    """
    y, x = coordinates()
    c, s = math.cos(angle), math.sin(angle)
    dx, dy = x - center[0], y - center[1]
    return dx * c + dy * s, dy * c - dx * s


def noise(
    rng: Generator,
    scale_px: float | tuple[float, float],
    octaves: int = 1,
    gain: float = 0.5,
) -> Field:
    """Return smooth noise of about zero mean and unit deviation.

    >>> field = noise(np.random.default_rng(0), scale_px=8)
    >>> abs(float(field.mean())) < 0.1, 0.9 < float(field.std()) < 1.1
    (True, True)

    Args:
        rng: source of randomness.
        scale_px: size of the coarsest features; (down, across) for streaks.
        octaves: how many layers, each half the size of the one before.
        gain: strength of each layer relative to the one before.
    """
    down, across = scale_px if isinstance(scale_px, tuple) else (scale_px, scale_px)
    total = empty()
    for k in range(octaves):
        total += gain**k * _layer(rng, down / 2**k, across / 2**k)
    power = sum(gain ** (2 * k) for k in range(octaves))
    return total * (1.25 / math.sqrt(power))


def _layer(rng: Generator, down: float, across: float) -> Field:
    steps = [EXTENT_PX / max(size, STEP_PX) for size in (down, across)]
    rows, columns = (math.ceil(n) + 4 for n in steps)
    cells = rng.standard_normal((rows, columns), np.float32)
    top, left = 1 + rng.random(), 1 + rng.random()
    box = (left, top, left + steps[1], top + steps[0])
    return np.asarray(
        Image.fromarray(cells).resize((GRID, GRID), Image.Resampling.BICUBIC, box=box)
    )


def grain(rng: Generator) -> Field:
    """Return noise without any correlation, unit deviation.

    >>> round(float(grain(np.random.default_rng(0)).std()), 2)
    1.0
    """
    return rng.standard_normal((GRID, GRID), np.float32)


def ramp(low: float, high: float, values: Field) -> Field:
    """Return a smooth step: 0 up to `low`, 1 from `high` on (low > high: the other way round).

    >>> ramp(0, 4, np.array([-1, 0, 2, 4, 5])).tolist()
    [0.0, 0.0, 0.5, 1.0, 1.0]
    """
    t = np.clip((values - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def inside(signed: Field, soft_px: float = 0.7) -> Field:
    """Return 1 where a signed distance is negative, 0 outside, with an edge of `soft_px`.

    >>> inside(np.array([-1.0, 0.0, 1.0])).tolist()
    [1.0, 0.5, 0.0]
    """
    return np.clip(0.5 - signed / soft_px, 0, 1)


def box(u: Field, v: Field, half: tuple[float, float], corner_px: float = 0.0) -> Field:
    """Return the signed distance to a box of half sizes `half`, its corners rounded.

    >>> box(np.array([0.0, 5.0, 8.0]), np.zeros(3), half=(5, 9)).tolist()
    [-5.0, 0.0, 3.0]
    """
    a = np.abs(u) - (half[0] - corner_px)
    b = np.abs(v) - (half[1] - corner_px)
    outer = np.hypot(np.maximum(a, 0), np.maximum(b, 0))
    return outer + np.minimum(np.maximum(a, b), 0) - corner_px


def blob(
    rng: Generator,
    center: Point,
    radius_px: float,
    roughness: float = 0.25,
    elongation: float = 1.0,
    angle: float | None = None,
) -> Field:
    """Return about the signed distance to an irregular round shape.

    >>> distance = blob(np.random.default_rng(0), center=(128, 128), radius_px=20)
    >>> bool(distance[256, 256] < 0), bool(distance[0, 0] > 0)
    (True, True)

    Args:
        rng: source of randomness.
        center: its middle.
        radius_px: mean radius.
        roughness: how far the outline strays, as a share of the radius.
        elongation: length over width.
        angle: of its length, radians; None for any.
    """
    u, v = turned(rng.uniform(0, math.pi) if angle is None else angle, center)
    u, v = u / math.sqrt(elongation), v * math.sqrt(elongation)
    theta = np.linspace(-math.pi, math.pi, 721)
    edge = np.ones(721)
    for k in range(2, 14):
        edge += roughness / k**0.8 * rng.normal() * np.cos(k * theta + rng.uniform(0, 2 * math.pi))
    place = np.arctan2(v, u) * (360 / math.pi) + 360.5
    return np.hypot(u, v) - radius_px * np.clip(edge, 0.3, 2).astype(np.float32)[place.astype(int)]


def curve(points: Sequence[Point], n: int = 24) -> list[Point]:
    """Return `n` points on a smooth curve through `points` (Catmull-Rom).

    >>> np.round(curve([(0, 0), (4, 4), (8, 0)], n=3), 6).tolist()
    [[0.0, 0.0], [4.0, 4.0], [8.0, 0.0]]
    """
    p = np.array(points, float)
    p = np.vstack([2 * p[0] - p[1], p, 2 * p[-1] - p[-2]])
    t = np.linspace(0, len(points) - 1 - 1e-9, n)
    k, f = t.astype(int), (t % 1)[:, None]
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    q = b + 0.5 * f * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
    return [(float(x), float(y)) for x, y in q]


def wander(rng: Generator, start: Point, angle: float, length: float, bend: float) -> list[Point]:
    """Return a polyline of 5 px steps from `start` that turns by about `bend` radians a step.

    >>> wander(np.random.default_rng(0), start=(0, 0), angle=0, length=10, bend=0)
    [(0, 0), (5.0, 0.0), (10.0, 0.0)]
    """
    points = [start]
    for _ in range(max(2, round(length / 5))):
        angle += rng.normal(0, bend)
        x, y = points[-1]
        points.append((x + 5 * math.cos(angle), y + 5 * math.sin(angle)))
    return points


def stroke(points: Sequence[Point], reach_px: float = 8.0) -> Stroke:
    """Return each point's place relative to the polyline `points`.

    >>> line = stroke([(0.25, 10.25), (100.25, 10.25)])
    >>> line.length, float(line.distance[24, 40]), float(line.along[24, 40])
    (100.0, 2.0, 20.0)
    """
    y, x = coordinates()
    distance, along = np.full((GRID, GRID), FAR_PX, np.float32), empty()
    side = np.ones((GRID, GRID), np.float32)
    done = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        rows, columns = _span(y0, y1, reach_px), _span(x0, x1, reach_px)
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
        ex, ey = (x1 - x0) / length, (y1 - y0) / length
        dx, dy = x[:, columns] - x0, y[rows] - y0
        t = np.clip(dx * ex + dy * ey, 0, length)
        d = np.hypot(dx - t * ex, dy - t * ey)
        nearer = d < distance[rows, columns]
        distance[rows, columns][nearer] = d[nearer]
        along[rows, columns][nearer] = t[nearer] + done
        side[rows, columns][nearer] = np.sign(dx * ey - dy * ex)[nearer]
        done += length
    return Stroke(distance, along, side, done)


def _span(a: float, b: float, reach_px: float) -> slice:
    low, high = min(a, b) - reach_px, max(a, b) + reach_px
    return slice(max(0, int(low / STEP_PX)), max(0, min(GRID, math.ceil(high / STEP_PX))))


def shade(height: Field, light: tuple[float, float, float] = LIGHT) -> Field:
    """Return the diffuse light on a relief of `height` px: 1 where it is flat.

    >>> float(shade(empty()).min())
    1.0
    """
    down, across = np.gradient(height, STEP_PX)
    facing = light[2] - across * light[0] - down * light[1]
    return np.maximum(facing, 0) / np.sqrt(1 + across**2 + down**2) / light[2]


def gloss(height: Field, sharpness: float, light: tuple[float, float, float] = LIGHT) -> Field:
    """Return the mirror light of a lamp on a relief of `height` px, 0 to 1.

    >>> bool(gloss(empty(), sharpness=2).max() > gloss(empty(), sharpness=20).max())
    True
    """
    norm = math.sqrt(light[0] ** 2 + light[1] ** 2 + (light[2] + 1) ** 2)
    hx, hy, hz = light[0] / norm, light[1] / norm, (light[2] + 1) / norm
    down, across = np.gradient(height, STEP_PX)
    facing = (hz - across * hx - down * hy) / np.sqrt(1 + across**2 + down**2)
    return np.maximum(facing, 0) ** sharpness


def moved(field: Field, x_px: float, y_px: float) -> Field:
    """Return `field` shifted right and down by whole half px, zero where nothing came from.

    >>> moved(empty() + 1, x_px=1, y_px=0)[0, :4].tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    dx, dy = round(x_px / STEP_PX), round(y_px / STEP_PX)
    rows, columns = slice(max(dy, 0), GRID + min(dy, 0)), slice(max(dx, 0), GRID + min(dx, 0))
    source = (slice(max(-dy, 0), GRID - max(dy, 0)), slice(max(-dx, 0), GRID - max(dx, 0)))
    out = np.zeros_like(field)
    out[rows, columns] = field[source]
    return out


def over(base: Field, paint: Field, alpha: Field) -> Field:
    """Return `paint` laid over `base` (512, 512, 3) with opacity `alpha` (512, 512).

    >>> over(np.zeros((1, 1, 3)), color("#ffffff"), np.full((1, 1), 0.25)).tolist()
    [[[0.25, 0.25, 0.25]]]
    """
    return base + (paint - base) * alpha[..., None]
