"""Woven cloth: a chambray of blue warp and pale weft, seen from above."""

import math

import numpy as np
from numpy.random import Generator

from rd4ad.data.parts.fields import (
    Field,
    Scene,
    blob,
    color,
    curve,
    empty,
    grain,
    inside,
    moved,
    noise,
    over,
    ramp,
    shade,
    stroke,
    turned,
    wander,
)

DEFECTS = ("hole", "loose_thread", "stain", "weave_error")
PITCH_PX = 7.5
MARGIN = 8  # threads beyond the picture on each side
N_THREADS = 2 * MARGIN + 36


class Weave:
    """Geometry of the threads: which is where, and how far each point lies from its middle."""

    def __init__(self, rng: Generator) -> None:
        u, v = turned(rng.normal(0, 0.012))
        u, v = u + 0.9 * noise(rng, 70, 2), v + 0.9 * noise(rng, 70, 2)
        offset = rng.uniform(0, 2, 2).tolist()
        self.u = u / PITCH_PX + N_THREADS / 2 + offset[0]
        self.v = v / PITCH_PX + N_THREADS / 2 + offset[1]
        self.warp, self.weft = self.u.astype(int), self.v.astype(int)
        index = np.arange(N_THREADS)
        self.warp_over = (index[:, None] + index[None, :]) % 2 * 2.0 - 1  # (warp, weft), +-1
        self.present = np.ones((2, 512, 512), bool)

    def crimp(self, table: Field, along: Field, across: Field) -> Field:
        """Return the smooth rise and fall of the threads `across`, following `table`."""
        cell = (along - 0.5).astype(int)
        t = along - 0.5 - cell
        t = t * t * (3 - 2 * t)
        table = table.astype(np.float32)
        return table[across, cell] * (1 - t) + table[across, cell + 1] * t


def draw(part: Generator, flaw: Generator, kind: str | None) -> Scene:
    """Return a piece of cloth, with a defect of type `kind` or none.

    >>> scene = draw(np.random.default_rng(0), np.random.default_rng(1), "hole")
    >>> scene.light.shape, bool(scene.defect.any())
    ((512, 512, 3), True)
    """
    weave = Weave(part)
    defect = empty()
    if kind == "hole":
        defect = _tear(weave, flaw)
    elif kind == "weave_error":
        defect = _misweave(weave, flaw)
    light = _threads(weave, part)
    if kind == "stain":
        light, defect = _stain(light, flaw)
    elif kind == "loose_thread":
        light, defect = _loose_thread(light, flaw)
    return Scene(light, defect)


def _threads(weave: Weave, rng: Generator) -> Field:
    tone = rng.normal(1, 0.05, (2, N_THREADS)).astype(np.float32)
    slub = 0.03 * noise(rng, (50, 6)), 0.03 * noise(rng, (6, 50))
    heights, paints = [], []
    ways = ((weave.u, weave.v, weave.warp, 1.0), (weave.v, weave.u, weave.weft, -1.0))
    for k, (across, along, thread, sign) in enumerate(ways):
        offset = across - thread - 0.5
        table = weave.warp_over if k == 0 else weave.warp_over.T
        rise = sign * weave.crimp(table, along, thread)
        half = 0.46 + slub[k]
        body = np.sqrt(np.maximum(1 - (offset / half) ** 2, 0))
        height = 0.55 * rise + 1.1 * body
        heights.append(np.where(weave.present[k] & (np.abs(offset) < half), height, -2.0))
        twist = np.sin(2 * math.pi * (2.6 * along + 1.5 * offset) + 1.7 * thread)
        paints.append(tone[k][thread] * (1 + 0.10 * twist))
    warp_on_top = heights[0] > heights[1]
    height = np.maximum(heights[0], heights[1]).astype(np.float32)
    dyes = color("#49678f"), color("#c3c8cc")
    tones = np.where(warp_on_top, paints[0], paints[1])
    light = np.where(warp_on_top[..., None], dyes[0], dyes[1]) * tones[..., None]
    depth = ramp(-1.6, 1.4, height)
    lit = (0.25 + 0.75 * shade(1.6 * height)) * (0.12 + 0.88 * depth)
    fuzz = 1 + 0.07 * grain(rng) + 0.05 * noise(rng, 1.5) + 0.035 * noise(rng, 60, 2)
    return (light * (lit * fuzz)[..., None]).astype(np.float32)


def _tear(weave: Weave, rng: Generator) -> Field:
    x, y = rng.uniform(50, 206, 2).tolist()
    radius = rng.uniform(7, 20)
    edge = blob(rng, (x, y), radius, 0.18, rng.uniform(1, 1.8))
    fray = rng.normal(0, 2.5, (2, N_THREADS)).astype(np.float32)
    gone = np.stack([edge + fray[0][weave.warp] < 0, edge + fray[1][weave.weft] < 0])
    weave.present &= ~gone
    return np.any(gone, axis=0).astype(np.float32)


def _misweave(weave: Weave, rng: Generator) -> Field:
    """Let a few threads float over their neighbors."""
    n_across, n_along = int(rng.integers(1, 4)), int(rng.integers(6, 16))
    i, j = rng.integers(MARGIN + 2, N_THREADS - MARGIN - 18, 2).tolist()
    table = weave.warp_over
    is_warp = rng.random() < 0.5
    if not is_warp:
        table = -table.T
    before = table.copy()
    for k in range(n_across):
        start = j + int(rng.integers(0, 3))
        table[i + k, start : start + n_along] = 1
    weave.warp_over = table if is_warp else -table.T
    across, along = (weave.u, weave.v) if is_warp else (weave.v, weave.u)
    changed = (table != before).astype(np.float32)
    near = np.zeros_like(changed)
    for di in (-1, 0, 1):  # the neighbors' crimp changes with it
        for dj in (-1, 0, 1):
            near = np.maximum(near, np.roll(changed, (di, dj), (0, 1)))
    return near[across.astype(int), along.astype(int)]


def _stain(light: Field, rng: Generator) -> tuple[Field, Field]:
    x, y = rng.uniform(45, 211, 2).tolist()
    edge = blob(rng, (x, y), rng.uniform(10, 30), 0.22, rng.uniform(1, 1.6))
    edge = edge + 1.2 * noise(rng, 5, 2)
    alpha = ramp(2.0, -2.0, edge)
    rim = np.exp(-((edge + 2) ** 2) / 6)
    dye = color(str(rng.choice(["#8a6a44", "#6b5a55", "#a58a4a"])))
    strength = alpha * rng.uniform(0.55, 0.9) * (0.8 + 0.2 * rim)
    filtered = light * (dye / dye.max()) * 0.75
    return over(light, filtered.astype(np.float32), strength), alpha


def _loose_thread(light: Field, rng: Generator) -> tuple[Field, Field]:
    start = tuple(rng.uniform(50, 206, 2).tolist())
    path = wander(rng, start, rng.uniform(0, 2 * math.pi), rng.uniform(60, 150), 0.42)
    line = stroke(curve(path, 3 * len(path)))
    half = 1.3 + 0.12 * np.sin(line.along * 1.1)
    body = inside(line.distance - half)
    shadow = 0.55 * moved(inside(line.distance - half, 3.0), 2.0, 2.0)
    profile = np.sqrt(np.maximum(1 - (line.distance / 1.6) ** 2, 0.05))
    twist = 1 + 0.2 * np.sin(3.2 * line.along + 2.0 * line.side * line.distance)
    dye = color(str(rng.choice(["#c3c8cc", "#c9cbd0", "#5a7599"])))
    paint = dye * (profile * twist * (1 - 0.1 * line.side))[..., None]
    light = over(light * (1 - shadow)[..., None], paint.astype(np.float32), body)
    return light, np.maximum(body, ramp(0.1, 0.3, shadow))
