"""A zinc-plated hexagon nut on a dark mat."""

import math

import numpy as np
from numpy.random import Generator

from rd4ad.data.parts.fields import (
    CENTER_PX,
    Field,
    Point,
    Scene,
    blob,
    color,
    empty,
    gloss,
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

DEFECTS = ("chipped", "rust", "scratch", "thread_damage")
FLAT_PX, BORE_PX, CHAMFER_PX = 84.0, 44.0, 13.0  # center to flat, radius of bore, width of edge


def draw(part: Generator, flaw: Generator, kind: str | None) -> Scene:
    """Return a nut, with a defect of type `kind` or none.

    >>> scene = draw(np.random.default_rng(0), np.random.default_rng(1), "chipped")
    >>> scene.light.shape, bool(scene.defect.any())
    ((512, 512, 3), True)
    """
    center = (CENTER_PX + part.normal(0, 1.5), CENTER_PX + part.normal(0, 1.5))
    angle = part.normal(0.1, 0.03)
    hexagon, r, theta = _geometry(center, angle)
    bite, defect = None, empty()
    if kind == "chipped":
        bite = _bite(flaw, center, angle)
    light = _metal(part, hexagon, r, theta, bite)
    if bite is not None:
        solid = np.maximum(hexagon, -bite)
        shadow = np.abs(_shadow(hexagon) - _shadow(solid)) * (1 - inside(solid, 1.2))
        lost = np.abs(inside(hexagon, 1.2) - inside(solid, 1.2))
        defect = np.maximum(lost, ramp(0.04, 0.12, shadow))
    elif kind == "thread_damage":
        light, defect = _thread_damage(light, flaw, center)
    elif kind is not None:
        paint = {"rust": _rust, "scratch": _scratch}[kind]
        altered, spread = paint(light, flaw, center)
        face = inside(hexagon) * inside(BORE_PX + 2 - r)  # not on the mat, not in the bore
        light, defect = over(light, altered, face), spread * face
    return Scene(light.astype(np.float32), defect)


def _geometry(center: Point, angle: float) -> tuple[Field, Field, Field]:
    u, v = turned(angle, center)
    apart = [np.abs(u * math.cos(a) + v * math.sin(a)) for a in (0, math.pi / 3, 2 * math.pi / 3)]
    return np.maximum.reduce(apart) - FLAT_PX, np.hypot(u, v), np.arctan2(v, u)


def _metal(rng: Generator, hexagon: Field, r: Field, theta: Field, bite: Field | None) -> Field:
    solid = hexagon if bite is None else np.maximum(hexagon, -bite)
    mat = color("#33363a") * (1 + 0.10 * noise(rng, 3, 2) + 0.12 * grain(rng))[..., None]
    light = over(mat, mat * 0.25, _shadow(solid))
    rounded = np.minimum(FLAT_PX + 7 - r, CHAMFER_PX) * (r > FLAT_PX - CHAMFER_PX)
    crown = np.where(r > FLAT_PX - CHAMFER_PX + 7, rounded, CHAMFER_PX)  # turned edge of the top
    bevel = np.minimum(r - BORE_PX, 7.0)
    height = 0.55 * np.minimum(crown, CHAMFER_PX) + 0.6 * np.minimum(bevel, 7.0)
    height = height + 0.05 * noise(rng, 2.5, 2) + 0.5 * noise(rng, 90)
    brushed = 0.04 * np.sin(r * 2.1 + 0.6 * noise(rng, 30)) + 0.03 * grain(rng)
    zinc = color("#b9bcc0") * (0.30 + 0.55 * shade(height) + brushed)[..., None]
    sweep = np.cos(2 * (theta - 0.9)) ** 4
    zinc = zinc + (0.16 * sweep + 0.5 * gloss(height, 22))[..., None]
    light = over(light, zinc.astype(np.float32), inside(solid, 1.2))
    phase = (r - 4 * theta / (2 * math.pi)) / 4.0
    thread = 0.5 + 0.5 * np.cos(2 * math.pi * phase)
    wall = color("#74777b") * (0.12 + 0.5 * thread * (0.45 + 0.4 * np.cos(theta - 0.6)))[..., None]
    light = over(light, np.maximum(wall, 0).astype(np.float32), inside(r - BORE_PX, 1.2))
    hole = color("#1d1f22") * (1 + 0.1 * grain(rng))[..., None]
    return over(light, hole.astype(np.float32), inside(r - BORE_PX + 12, 2.0))


def _shadow(solid: Field) -> Field:
    return 0.6 * moved(inside(solid, 9.0), 5, 6)


def _bite(rng: Generator, center: Point, angle: float) -> Field:
    corner = angle + math.pi / 6 + math.pi / 3 * int(rng.integers(6)) + rng.normal(0, 0.12)
    reach = FLAT_PX / math.cos(math.pi / 6) - rng.uniform(0, 8)
    place = (center[0] + reach * math.cos(corner), center[1] + reach * math.sin(corner))
    return blob(rng, place, rng.uniform(11, 24), 0.25, rng.uniform(1, 1.5))


def _place(rng: Generator, center: Point) -> Point:
    angle, reach = rng.uniform(-math.pi, math.pi), rng.uniform(BORE_PX + 8, FLAT_PX - 6)
    return center[0] + reach * math.cos(angle), center[1] + reach * math.sin(angle)


def _rust(light: Field, rng: Generator, center: Point) -> tuple[Field, Field]:
    edge = blob(rng, _place(rng, center), rng.uniform(6, 18), 0.35, rng.uniform(1, 2))
    spread = ramp(2.5, -2.5, edge + 2.2 * noise(rng, 4, 3))
    dye = color("#8a4a1e") * (0.75 + 0.25 * noise(rng, 3, 2))[..., None]
    return over(light, (0.75 * dye + 0.08 * light).astype(np.float32), 0.9 * spread), spread


def _scratch(light: Field, rng: Generator, center: Point) -> tuple[Field, Field]:
    path = wander(rng, _place(rng, center), rng.uniform(0, 6.3), rng.uniform(30, 80), 0.06)
    line = stroke(path)
    half = rng.uniform(0.7, 1.4)
    groove = inside(line.distance - half)
    bright = inside(line.distance - half - 0.8) * (line.side > 0)
    light = over(light, light * 0.3 + 0.75, 0.8 * bright)
    return over(light, light * 0.3, 0.8 * groove), np.maximum(groove, bright)


def _thread_damage(light: Field, rng: Generator, center: Point) -> tuple[Field, Field]:
    angle = rng.uniform(-math.pi, math.pi)
    reach = BORE_PX - 5
    place = (center[0] + reach * math.cos(angle), center[1] + reach * math.sin(angle))
    edge = blob(rng, place, rng.uniform(6, 12), 0.3, rng.uniform(1.2, 2.2), angle + math.pi / 2)
    smear = inside(edge, 1.2)
    relief = 2.0 * noise(rng, 5, 2)
    burr = color("#a9acb0") * (0.2 + 0.6 * shade(relief * 0.5))[..., None]
    return over(light, burr.astype(np.float32), 0.95 * smear), smear
