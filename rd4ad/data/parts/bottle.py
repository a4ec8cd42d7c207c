"""The mouth of an amber bottle seen from above, lit by a ring lamp, on a light table."""

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
    noise,
    over,
    ramp,
    shade,
    turned,
)

DEFECTS = ("broken_large", "broken_small", "contamination")
BODY_PX, LIP_PX, BORE_PX = 112.0, 88.0, 56.0  # radii: shoulder, outer and inner edge of the lip
LIP_MIDDLE = (LIP_PX + BORE_PX) / 2


def draw(part: Generator, flaw: Generator, kind: str | None) -> Scene:
    """Return a bottle's mouth, with a defect of type `kind` or none.

    >>> scene = draw(np.random.default_rng(0), np.random.default_rng(1), "broken_small")
    >>> scene.light.shape, bool(scene.defect.any())
    ((512, 512, 3), True)
    """
    center = (CENTER_PX + part.normal(0, 1.2), CENTER_PX + part.normal(0, 1.2))
    light = _glass(part, center)
    if kind is None:
        return Scene(light, empty())
    if kind == "contamination":
        return Scene(*_contamination(light, flaw, center))
    radius = flaw.uniform(17, 32) if kind == "broken_large" else flaw.uniform(6, 11)
    return Scene(*_broken(light, flaw, center, radius))


def _glass(rng: Generator, center: Point) -> Field:
    u, v = turned(0.0, center)
    r = np.hypot(u, v)
    theta = np.arctan2(v, u)
    table = color("#e9e9e6") * (1 + 0.008 * grain(rng) + 0.01 * noise(rng, 80))[..., None]
    amber, dark = color("#7a3f12"), color("#1c0d05")
    sweep = 0.5 + 0.5 * np.cos(theta + 2.3 + rng.normal(0, 0.08))
    edge = ramp(BODY_PX, LIP_PX, r)  # the shoulder falls away from the lip
    shoulder = dark + (amber - dark) * (0.15 + 0.5 * sweep * edge + 0.3 * (1 - edge))[..., None]
    light = over(table, shoulder.astype(np.float32), inside(r - BODY_PX, 1.5))
    profile = np.sqrt(np.maximum(1 - ((r - LIP_MIDDLE) / 17) ** 2, 0))
    height = 15 * profile + 0.05 * noise(rng, 7, 2) + 0.15 * noise(rng, 50)
    ring = np.exp(-(((r - LIP_MIDDLE - 2.5) / 2.6) ** 2)) * (0.75 + 0.25 * sweep)
    inner = np.exp(-(((r - BORE_PX - 5) / 1.8) ** 2)) * (0.35 + 0.3 * sweep)
    tone = 0.35 + 0.5 * shade(height * 0.35)
    lip = amber * tone[..., None] + color("#ffe9cf") * (0.62 * ring + 0.3 * inner)[..., None]
    lip += 0.35 * gloss(height * 0.5, 25)[..., None]
    light = over(light, lip.astype(np.float32), inside(np.abs(r - LIP_MIDDLE) - 17, 1.2))
    wall = ramp(20, BORE_PX - 1, r)
    bore = dark * 0.55 + amber * (0.30 * wall**3 * (0.5 + 0.5 * sweep))[..., None]
    bore = bore + color("#8a6a50") * (0.20 * np.exp(-(((r - 31) / 3.5) ** 2)) * sweep)[..., None]
    return over(light, bore.astype(np.float32), inside(r - BORE_PX + 1, 1.5)).astype(np.float32)


def _broken(light: Field, rng: Generator, center: Point, radius: float) -> tuple[Field, Field]:
    angle = rng.uniform(-math.pi, math.pi)
    reach = LIP_PX - 4 if rng.random() < 0.5 else BORE_PX + 6
    place = (center[0] + reach * math.cos(angle), center[1] + reach * math.sin(angle))
    edge = blob(rng, place, radius, 0.3, rng.uniform(1.1, 1.8), angle + math.pi / 2)
    u, v = turned(0.0, center)
    r = np.hypot(u, v)
    on_lip = inside(np.abs(r - LIP_MIDDLE) - 17.5, 1.2)
    gone = inside(edge, 1.0) * on_lip
    facets = 4 * noise(rng, radius * 0.8) + 1.5 * noise(rng, 4, 2)
    fracture = color("#5a2f12") * (0.5 + 0.6 * shade(facets * 0.35))[..., None]
    fracture = fracture + color("#fff1dd") * (0.5 * gloss(facets * 0.5, 20))[..., None]
    rim = np.exp(-((edge / 1.6) ** 2)) * on_lip
    light = over(light, fracture.astype(np.float32), gone)
    light = light + color("#ffe9cf") * (0.35 * rim)[..., None]
    return light.astype(np.float32), np.maximum(gone, ramp(0.15, 0.4, rim))


def _contamination(light: Field, rng: Generator, center: Point) -> tuple[Field, Field]:
    angle, reach = rng.uniform(-math.pi, math.pi), rng.uniform(0, LIP_PX - 8)
    place = (center[0] + reach * math.cos(angle), center[1] + reach * math.sin(angle))
    edge = blob(rng, place, rng.uniform(6, 21), 0.4, rng.uniform(1, 2.4))
    matter = inside(edge, 1.3)
    dye = color(str(rng.choice(["#c9c1ae", "#8d8f93", "#a97f4b", "#5f6f52"])))
    relief = 1.5 * noise(rng, 5, 3) + np.minimum(-edge, 4) * 0.4
    paint = dye * (0.25 + 0.6 * shade(relief * 0.6))[..., None]
    return over(light, paint.astype(np.float32), 0.92 * matter), matter
