"""A transistor in its place on a perforated board: a black case, three leads in three holes.

A misplaced part is shifted and turned, or not there at all. Its mask covers the place where the
part is and the place where it should be, as in MVTec AD: the case that the paper discusses under
"Limitations".
"""

import math
from functools import cache

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rd4ad.data.parts.fields import (
    GRID,
    Field,
    Scene,
    blob,
    box,
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
    turned,
)

DEFECTS = ("misplaced", "bent_lead", "cut_lead", "damaged_case")
HOME = (128.0, 112.0)  # middle of the part, px
CASE = (43.0, 36.0)  # half width and height
CASE_UP = 22.0  # middle of the case above the middle of the part
LEADS = (-24.0, 0.0, 24.0)  # across; the holes of the board have the same pitch
LEAD_TOP, LEAD_END, LEAD_HALF = 10.0, 80.0, 3.6
PITCH = 24.0


def draw(part: Generator, flaw: Generator, kind: str | None) -> Scene:
    """Return a board with its transistor, with a defect of type `kind` or none.

    >>> scene = draw(np.random.default_rng(0), np.random.default_rng(1), "bent_lead")
    >>> scene.light.shape, bool(scene.defect.any())
    ((512, 512, 3), True)
    """
    shift, angle = part.normal(0, 1.0, 2), part.normal(0, 0.012)
    home = (HOME[0] + shift[0], HOME[1] + shift[1])
    board = _board(part, home, angle)
    u, v = turned(angle, home)
    leads = [_lead(u, v, x) for x in LEADS]
    if kind == "misplaced":
        return _misplaced(board, part, flaw, home, angle, leads)
    if kind in ("bent_lead", "cut_lead"):
        index = int(flaw.integers(3))
        before = leads[index]
        leads[index] = _bent(u, v, index, flaw) if kind == "bent_lead" else _cut(u, v, index, flaw)
        moved_there = np.abs(before - leads[index]) > 0.2
        changed = np.maximum(_cast(before), _cast(leads[index])) * moved_there
        scene = _component(board, u, v, leads, part)
        shown = inside(-_case(u, v))  # what the case hides is no defect
        return Scene(scene, changed * shown)
    light = _component(board, u, v, leads, part)
    if kind == "damaged_case":
        return Scene(*_damaged(light, u, v, flaw))
    return Scene(light, empty())


def nominal_mask(size_px: int = 256) -> NDArray[np.bool_]:
    """Return where the part should be, (size_px, size_px), the same for every image.

    >>> mask = nominal_mask()
    >>> mask.shape, bool(mask[128, 128])
    ((256, 256), True)
    """
    u, v = turned(0.0, HOME)
    there = _silhouette(u, v, [_lead(u, v, x) for x in LEADS])
    small = Image.fromarray(there).resize((size_px, size_px), Image.Resampling.BOX)
    return np.asarray(small) >= 0.5


def _case(u: Field, v: Field) -> Field:
    return box(u, v + CASE_UP, CASE, 7.0)


def _lead(u: Field, v: Field, x: float) -> Field:
    middle = (LEAD_TOP + LEAD_END) / 2
    return box(u - x, v - middle, (LEAD_HALF, (LEAD_END - LEAD_TOP) / 2), 2.0)


def _silhouette(u: Field, v: Field, leads: list[Field]) -> Field:
    return np.maximum(inside(_case(u, v)), inside(np.minimum.reduce(leads)))


def _cast(signed: Field) -> Field:
    """Return a lead with its shadow on the board."""
    return np.maximum(inside(signed), ramp(0.1, 0.3, moved(inside(signed, 4.0), 2, 3)))


def _board(rng: Generator, home: tuple[float, float], angle: float) -> Field:
    u, v = turned(angle, home)
    resin = color("#b98f5c") * (1 + 0.05 * noise(rng, 40, 2) + 0.035 * grain(rng))[..., None]
    fibres = 0.03 * noise(rng, (1.5, 30), 2) + 0.03 * noise(rng, (30, 1.5), 2)
    light = resin * (1 + fibres)[..., None]
    du = (u + PITCH / 2) % PITCH - PITCH / 2
    dv = (v - LEAD_END + PITCH / 2) % PITCH - PITCH / 2
    r = np.hypot(du, dv)
    pad = color("#c77b45") * (0.8 + 0.25 * shade(0.8 * np.minimum(8.5 - r, 1.5)))[..., None]
    light = over(light, pad.astype(np.float32), inside(r - 8.0, 1.2))
    hole = color("#1d1712") * (1 + 0.6 * ramp(0, 4, du + dv))[..., None]
    return over(light, hole.astype(np.float32), inside(r - 4.3, 1.0)).astype(np.float32)


def _component(board: Field, u: Field, v: Field, leads: list[Field], rng: Generator) -> Field:
    light = board
    scuffs, sheen = noise(rng, 3, 3), noise(rng, 60)
    metal, streaks = np.minimum.reduce(leads), noise(rng, (20, 1.5))
    shadow = 0.55 * moved(inside(metal, 4.0), 2, 3)
    light = over(light, light * 0.25, shadow)
    round_ = np.sqrt(np.maximum(1 - (1 + np.minimum(metal, 0) / LEAD_HALF) ** 2, 0)) * LEAD_HALF
    tin = color("#c4c6c8") * (0.25 + 0.5 * shade(round_ * 0.7) + 0.04 * streaks)[..., None]
    tin = tin + 0.55 * gloss(round_ * 0.7, 18)[..., None]
    light = over(light, tin.astype(np.float32), inside(metal, 0.9))
    case = _case(u, v)
    light = over(light, light * 0.2, 0.6 * moved(inside(case, 9.0), 5, 7))
    height = 0.9 * np.minimum(-case, 7.0) + 0.09 * scuffs + 0.3 * sheen
    black = color("#2c2d30") * (0.35 + 0.65 * shade(height) + 0.03 * scuffs)[..., None]
    black = black + 0.10 * gloss(height, 9)[..., None]
    light = over(light, black.astype(np.float32), inside(case, 1.1))
    return over(light, color("#b9b8b0"), 0.75 * _print(u, v)).astype(np.float32)


@cache
def _label() -> Field:
    canvas = Image.new("L", (256, 192), 0)
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(54)
    pen.text((128, 62), "RD 440", fill=255, font=font, anchor="mm")
    pen.text((128, 132), "22-03", fill=255, font=font, anchor="mm")
    return np.asarray(canvas, np.float32) / 255


def _print(u: Field, v: Field) -> Field:
    label = _label()
    rows = np.rint((v + CASE_UP) * 3.4 + label.shape[0] / 2).astype(int)
    columns = np.rint(u * 3.4 + label.shape[1] / 2).astype(int)
    on = (rows >= 0) & (rows < label.shape[0]) & (columns >= 0) & (columns < label.shape[1])
    printed = label[np.clip(rows, 0, label.shape[0] - 1), np.clip(columns, 0, label.shape[1] - 1)]
    return (printed * on).astype(np.float32)


def _misplaced(
    board: Field,
    part: Generator,
    rng: Generator,
    home: tuple[float, float],
    angle: float,
    leads: list[Field],
) -> Scene:
    u, v = turned(angle, home)
    should = np.maximum(_silhouette(u, v, leads), ramp(0.1, 0.3, _shadow(u, v, leads)))
    if rng.random() < 0.3:
        return Scene(board, should)
    way = rng.uniform(0, 2 * math.pi)
    reach = rng.uniform(28, 62)
    place = (home[0] + reach * math.cos(way), home[1] + 0.6 * reach * math.sin(way))
    u, v = turned(angle + rng.choice([-1, 1]) * rng.uniform(0.25, 1.3), place)
    leads = [_lead(u, v, x) for x in LEADS]
    found = np.maximum(_silhouette(u, v, leads), ramp(0.1, 0.3, _shadow(u, v, leads)))
    return Scene(_component(board, u, v, leads, part), np.maximum(should, found))


def _shadow(u: Field, v: Field, leads: list[Field]) -> Field:
    metal = moved(inside(np.minimum.reduce(leads), 4.0), 2, 3)
    return np.maximum(metal, moved(inside(_case(u, v), 9.0), 5, 7))


def _bent(u: Field, v: Field, index: int, rng: Generator) -> Field:
    x, lean = LEADS[index], rng.choice([-1, 1]) * rng.uniform(9, 20)
    reach = LEAD_END - LEAD_TOP - rng.uniform(0, 8)
    t = np.clip((v - LEAD_TOP) / reach, 0, 1)
    offset = u - x - lean * t * t
    slope = np.sqrt(1 + (2 * lean * t / reach) ** 2)
    beyond = np.maximum(LEAD_TOP - v, v - LEAD_TOP - reach)
    return np.maximum(np.abs(offset) / slope - LEAD_HALF, beyond).astype(np.float32)


def _cut(u: Field, v: Field, index: int, rng: Generator) -> Field:
    end = rng.uniform(LEAD_TOP + 12, LEAD_END - 26)
    skew = rng.uniform(-0.5, 0.5)
    return np.maximum(_lead(u, v, LEADS[index]), v + skew * (u - LEADS[index]) - end)


def _damaged(light: Field, u: Field, v: Field, rng: Generator) -> tuple[Field, Field]:
    way = rng.uniform(-math.pi, math.pi)
    scale = 0.95 / max(abs(math.cos(way)) / CASE[0], abs(math.sin(way)) / CASE[1])
    place = (scale * math.cos(way), scale * math.sin(way) - CASE_UP)
    y, x = np.unravel_index(np.argmin((u - place[0]) ** 2 + (v - place[1]) ** 2), (GRID, GRID))
    edge = blob(rng, (x / 2, y / 2), rng.uniform(8, 17), 0.35, rng.uniform(1, 1.8))
    gone = inside(edge, 1.0) * inside(_case(u, v), 1.0)
    relief = 3 * noise(rng, 6, 3) + np.minimum(-edge, 5) * -0.5
    filler = color("#8b8880") * (0.2 + 0.7 * shade(relief * 0.4) + 0.05 * grain(rng))[..., None]
    return over(light, filler.astype(np.float32), gone).astype(np.float32), gone
