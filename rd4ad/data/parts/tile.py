"""A ceramic tile: gray stoneware with dark and pale flecks."""

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
    gloss,
    grain,
    inside,
    noise,
    over,
    ramp,
    shade,
    stroke,
    wander,
)

DEFECTS = ("crack", "chip", "glue", "gray_stroke")


def draw(part: Generator, flaw: Generator, kind: str | None) -> Scene:
    """Return a piece of tile, with a defect of type `kind` or none.

    >>> scene = draw(np.random.default_rng(0), np.random.default_rng(1), "crack")
    >>> scene.light.shape, bool(scene.defect.any())
    ((512, 512, 3), True)
    """
    light, height = _stone(part)
    if kind is None:
        return Scene(light, empty())
    defects = {"crack": _crack, "chip": _chip, "glue": _glue, "gray_stroke": _gray_stroke}
    return Scene(*defects[kind](light, height, flaw))


def _stone(rng: Generator) -> tuple[Field, Field]:
    clay = color("#b3afa6") * rng.normal(1, 0.02)
    patches, flecks, chalk = noise(rng, 22, 3), noise(rng, 7, 3), noise(rng, 9, 3)
    light = clay * (1 + 0.09 * patches + 0.03 * grain(rng))[..., None]
    light = over(light, color("#4c4a48"), 0.85 * ramp(1.15, 1.6, flecks + 0.3 * patches))
    light = over(light, color("#dedad2"), 0.8 * ramp(1.2, 1.7, chalk))
    height = 0.10 * noise(rng, 4, 2) + 0.35 * noise(rng, 60, 1)
    light = light * shade(height)[..., None] + 0.03 * gloss(height, 30)[..., None]
    return light.astype(np.float32), height


def _crack(light: Field, height: Field, rng: Generator) -> tuple[Field, Field]:
    start = tuple(rng.uniform(40, 216, 2).tolist())
    path = wander(rng, start, rng.uniform(0, 2 * math.pi), rng.uniform(70, 190), 0.28)
    line = stroke(path)
    half = rng.uniform(0.7, 1.5) * (0.6 + 0.4 * np.sin(line.along * 0.15) ** 2)
    gap = inside(line.distance - half)
    edge = ramp(half + 2.2, half, line.distance) * (line.side > 0)
    light = over(light, light * 1.25 + 0.03, 0.6 * edge)
    light = over(light, color("#2b2927"), 0.92 * gap)
    return light, np.maximum(gap, ramp(0.2, 0.5, edge))


def _chip(light: Field, height: Field, rng: Generator) -> tuple[Field, Field]:
    x, y = rng.uniform(45, 211, 2).tolist()
    edge = blob(rng, (x, y), rng.uniform(7, 19), 0.35, rng.uniform(1, 1.7))
    hollow = inside(edge)
    depth = np.minimum(-edge, 6) * hollow * 0.55 + 0.8 * noise(rng, 3, 2) * hollow
    body = color("#d5c6ad") * (shade(-depth) * (1 + 0.06 * grain(rng)))[..., None]
    return over(light, body.astype(np.float32), hollow), hollow


def _glue(light: Field, height: Field, rng: Generator) -> tuple[Field, Field]:
    x, y = rng.uniform(55, 201, 2).tolist()
    edge = blob(rng, (x, y), rng.uniform(13, 30), 0.2, rng.uniform(1.2, 3))
    film = inside(edge, 1.5)
    dome = np.sqrt(np.maximum(1 - np.exp(np.minimum(edge, 0) / 5), 0)) * 2.2 * film
    dome += 0.25 * noise(rng, 9, 2) * film
    tinted = light * color("#e6d9b0") * 0.95 + color("#b59b5a") * 0.10
    shine = 0.75 * gloss(dome, 60)[..., None] + 0.25 * (shade(dome) - 1)[..., None]
    return over(light, np.clip(tinted + shine, 0, 1.2).astype(np.float32), 0.9 * film), film


def _gray_stroke(light: Field, height: Field, rng: Generator) -> tuple[Field, Field]:
    start = tuple(rng.uniform(60, 196, 2).tolist())
    path = curve(wander(rng, start, rng.uniform(0, 2 * math.pi), rng.uniform(45, 110), 0.2), 40)
    half = rng.uniform(2.5, 6.5)
    line = stroke(path, half + 4)
    rough = line.distance - half + 0.9 * noise(rng, 3, 2)
    streaks = np.clip(0.75 + 0.35 * noise(rng, 2.5, 2), 0, 1)
    paint = inside(rough, 1.2)
    return over(light, color("#6f7276"), 0.8 * paint * streaks), paint
