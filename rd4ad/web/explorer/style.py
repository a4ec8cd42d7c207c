"""How things look everywhere: one color and marker a method, one mark a kind of metric."""

BACKBONES = {
    "compact": "compact",
    "distilled": "distilled",
    "resnet18": "R18",
    "resnet34": "R34",
    "resnet50": "R50",
    "wide_resnet50_2": "WR50",
}
"""Short names of backbones."""
KIND_MARKS = {"reported": "○", "reproduced": "●", "third-party": "◌", "external": "◇"}
"""Hollow: a paper's; filled: by this code; dotted: by somebody else; diamond: maps from elsewhere,
measured by this code."""
KIND_NAMES = {
    "reported": "○ reported by a paper",
    "reproduced": "● reproduced by this code",
    "third-party": "◌ third-party run",
    "external": "◇ maps of another program, measured here",
}

# Okabe and Ito's colors, which stay apart for the color-blind; black would vanish on dark.
_BLUE, _VERMILION, _GREEN, _ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
_PINK, _SKY, _YELLOW, _GRAY = "#CC79A7", "#56B4E9", "#B8A800", "#808080"
_VIOLET, _BROWN = "#7A4FB5", "#8B5A2B"
COLORS = {
    "RD4AD": _BLUE, "PaDiM": _VERMILION, "SPADE": _GREEN, "CutPaste": _ORANGE, "RIAD": _PINK,
    "MKD": _SKY, "US": _YELLOW, "MF": _GRAY, "PatchCore-10%": _VIOLET, "PatchCore-1%": _BROWN,
}  # fmt: skip
MARKERS = {
    "RD4AD": "circle", "PaDiM": "square", "SPADE": "diamond", "CutPaste": "triangle-up",
    "RIAD": "triangle-down", "MKD": "cross", "US": "x", "MF": "star",
    "PatchCore-10%": "hexagon", "PatchCore-1%": "hexagon-open",
}  # fmt: skip
SERIES = (_BLUE, _VERMILION, _GREEN, _ORANGE, _PINK, _SKY, _YELLOW, _GRAY)
"""Colors for what is not a method, in order."""
NORMAL, DEFECT = _SKY, _VERMILION
ACCENT = _BLUE


def color(method: str) -> str:
    """Return a method's one color; methods beyond the paper's share gray.

    >>> color("RD4AD"), color("SimpleNet")
    ('#0072B2', '#808080')
    """
    return COLORS.get(method, _GRAY)


def marker(method: str) -> str:
    """Return a method's one Plotly marker.

    >>> marker("PaDiM")
    'square'
    """
    return MARKERS.get(method, "hexagon")


def clear(hue: str) -> str:
    """Return a color as a faint fill.

    >>> clear("#0072B2")
    'rgba(0, 114, 178, 0.15)'
    """
    red, green, blue = (int(hue[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"
