"""A planed board of pine: growth rings cut lengthwise, pores and streaks."""

import math

import numpy as np
from numpy.random import Generator

from rd4ad.data.parts.fields import (
    Field,
    Scene,
    blob,
    color,
    empty,
    grain,
    inside,
    noise,
    over,
    ramp,
    stroke,
    turned,
    wander,
)

DEFECTS = ("scratch", "knot_hole", "liquid", "color_spot")
RING_PX = 13.0


def draw(part: Generator, flaw: Generator, kind: str | None) -> Scene:
    """Return a piece of board, with a defect of type `kind` or none.

    >>> scene = draw(np.random.default_rng(0), np.random.default_rng(1), "scratch")
    >>> scene.light.shape, bool(scene.defect.any())
    ((512, 512, 3), True)
    """
    light = _board(part)
    if kind is None:
        return Scene(light, empty())
    defects = {
        "scratch": _scratch,
        "knot_hole": _knot_hole,
        "liquid": _liquid,
        "color_spot": _color_spot,
    }
    return Scene(*defects[kind](light, flaw))


def _board(rng: Generator) -> Field:
    u, _ = turned(rng.normal(0, 0.02))
    drift = u + 6.0 * noise(rng, (150, 40), 2) + 0.5 * noise(rng, (30, 6))
    phase = drift / RING_PX * (1 + 0.05 * noise(rng, (200, 60))) + rng.uniform(0, 1)
    ring = phase - np.floor(phase)
    late = ramp(0.25, 0.92, ring) * ramp(1.0, 0.93, ring)  # slow to darken, quick to end
    early, dense = color("#dcb27c") * rng.normal(1, 0.02), color("#9a6436")
    light = over(np.broadcast_to(early, (*late.shape, 3)), dense, 0.62 * late)
    fibres = 0.06 * noise(rng, (70, 1.3), 2) + 0.035 * grain(rng)
    pores = ramp(1.7, 2.3, noise(rng, (16, 1.2)))
    light = light * (1 + fibres + 0.03 * noise(rng, 90, 2))[..., None]
    return over(light, light * 0.55, 0.7 * pores).astype(np.float32)


def _scratch(light: Field, rng: Generator) -> tuple[Field, Field]:
    x, y = rng.uniform(50, 206, 2).tolist()
    angle, mask = rng.uniform(0, math.pi), empty()
    for _ in range(int(rng.integers(1, 4))):
        start = (x + rng.normal(0, 8), y + rng.normal(0, 8))
        line = stroke(wander(rng, start, angle + rng.normal(0, 0.1), rng.uniform(35, 120), 0.04))
        half = rng.uniform(0.6, 1.3) * np.sqrt(np.clip(line.along / 12, 0.1, 1))
        groove = inside(line.distance - half)
        lip = inside(line.distance - half - 0.9) * (line.side > 0)
        light = over(light, light * 0.6 + color("#f3dcb4") * 0.45, 0.85 * lip)
        light = over(light, light * 0.38, 0.85 * groove)
        mask = np.maximum(mask, np.maximum(groove, lip))
    return light, mask


def _knot_hole(light: Field, rng: Generator) -> tuple[Field, Field]:
    x, y = rng.uniform(50, 206, 2).tolist()
    radius = rng.uniform(5, 15)
    edge = blob(rng, (x, y), radius, 0.16, rng.uniform(1, 1.5), math.pi / 2)
    hole, rim = inside(edge, 1.2), inside(edge - 3.5, 2.5)
    wall = color("#3a2212") * (1 + 0.5 * ramp(-8, 0, edge) + 0.1 * grain(rng))[..., None]
    light = over(light, light * 0.5, 0.8 * rim)
    return over(light, wall.astype(np.float32), hole), rim


def _liquid(light: Field, rng: Generator) -> tuple[Field, Field]:
    x, y = rng.uniform(50, 206, 2).tolist()
    edge = blob(rng, (x, y), rng.uniform(12, 32), 0.16, rng.uniform(1, 1.7), math.pi / 2)
    edge = edge + 1.5 * noise(rng, (14, 3), 2)
    wet = ramp(1.5, -1.5, edge)
    rim = np.exp(-((edge + 2.5) ** 2) / 5)
    soaked = light * np.array([0.62, 0.55, 0.5], np.float32)
    return over(light, soaked, wet * rng.uniform(0.55, 0.95) * (0.8 + 0.2 * rim)), wet


def _color_spot(light: Field, rng: Generator) -> tuple[Field, Field]:
    x, y = rng.uniform(40, 216, 2).tolist()
    spot = inside(blob(rng, (x, y), rng.uniform(3, 13), 0.25, rng.uniform(1, 2)), 1.3)
    dye = color(str(rng.choice(["#8f2f2a", "#2f5d8a", "#3f6b3a", "#d8d4c8"])))
    return over(light, dye * 0.85 + light * 0.2, 0.85 * spot), spot
