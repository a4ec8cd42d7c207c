"""Draw an anomaly map over its image: transparent where normal, with its scale shown."""

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from plotly.colors import sample_colorscale, unlabel_rgb
from scipy.ndimage import binary_erosion

OUTLINE = (0, 158, 115)  # Okabe-Ito green: apart from every color of the heatmap
BAR_PX = 26  # height of the strip below the picture that shows the scale
RANGE_TOP = 3.0  # the scale is so many times as long as from its start to the threshold


@cache
def color_table() -> NDArray[np.uint8]:
    """Return the (256, 3) colors of the heatmap, Plotly's perceptually even "Inferno".

    >>> color_table().shape
    (256, 3)

    The darkest fifth is left out: it would be lost over a dark part.
    """
    colors = sample_colorscale("Inferno", np.linspace(0.2, 1, 256).tolist())
    return np.array([unlabel_rgb(color) for color in colors]).round().astype(np.uint8)


def overlaid(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.floating],
    low: float,
    high: float,
    *,
    opacity: float = 0.75,
) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) with its map (h, w) over it, resized to the image.

    >>> image, anomaly_map = np.zeros((8, 8, 3), np.uint8), np.zeros((4, 4))
    >>> bool((overlaid(image, anomaly_map, 0.1, 1.0) == image).all())  # nothing above `low`
    True

    Args:
        image: (H, W, 3) uint8.
        anomaly_map: (h, w), higher is more anomalous.
        low: value up to which nothing is drawn.
        high: value from which on the color is full; above `low`.
        opacity: of the full color, in [0, 1].

    Raises:
        ValueError: `high` is not above `low`.
    """
    if not high > low:
        raise ValueError(f"the scale's end must lie above its start; got {low} to {high}")
    strength = np.clip((anomaly_map.astype(np.float32) - low) / (high - low), 0, 1)
    height, width = image.shape[:2]
    if not strength.any():
        return image.copy()
    levels = Image.fromarray(np.rint(strength * 255).astype(np.uint8))
    # In bytes, by Pillow: a third of what arrays of floats take, and at most 3 levels apart.
    grown = levels.resize((width, height), Image.Resampling.BILINEAR)
    colors = Image.merge("RGB", [grown.point(channel) for channel in color_table().T.tolist()])
    opaque = opacity * np.minimum(255, 2 * np.arange(256))  # full from the scale's middle on
    alpha = grown.point(opaque.round().astype(int).tolist())
    return np.array(Image.composite(colors, Image.fromarray(image), alpha))


def outline(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], color: tuple[int, int, int]
) -> NDArray[np.uint8]:
    """Return the image with the inner edge of the mask (H, W) drawn, one pixel in 200 wide.

    >>> image, mask = np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), bool)
    >>> mask[2:6, 2:6] = True
    >>> int((outline(image, mask, (255, 0, 0))[..., 0] > 0).sum())  # the edge of a 4 x 4 square
    12
    """
    drawn = image.copy()
    if not mask.any():
        return drawn
    width = max(1, round(min(image.shape[:2]) / 200))
    box = _box(mask, margin=width)
    inside = mask[box]
    edge = inside & ~binary_erosion(inside, iterations=width, border_value=1)
    drawn[box][edge] = color
    return drawn


def _box(mask: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    """Return the rows and columns that hold all of a mask (H, W), which is not empty."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return tuple(  # type: ignore[return-value]
        slice(max(0, int(found[0]) - margin), int(found[-1]) + 1 + margin)
        for found in (rows, columns)
    )


def marked(
    image: NDArray[np.uint8],
    anomaly_map: NDArray[np.floating],
    low: float,
    high: float,
    *,
    opacity: float,
    threshold: float | None,
) -> NDArray[np.uint8]:
    """Return the `overlay` of a map with what lies above the threshold outlined, if there is one.

    >>> image, anomaly_map = np.zeros((8, 8, 3), np.uint8), np.eye(4)
    >>> bool((marked(image, anomaly_map, 0, 1, opacity=0, threshold=0.5) == OUTLINE).any())
    True
    """
    drawn = overlaid(image, anomaly_map, low, high, opacity=opacity)
    if threshold is None or not anomaly_map.max() > threshold:
        return drawn
    height, width = image.shape[:2]
    small = Image.fromarray(anomaly_map.astype(np.float32))
    full = np.asarray(small.resize((width, height), Image.Resampling.BILINEAR))
    return outline(drawn, full > threshold, OUTLINE)


def with_scale(picture: NDArray[np.uint8], low: float, high: float, label: str) -> Image.Image:
    """Return the picture with a strip below it: the colors from `low` to `high`, and a label.

    >>> picture = with_scale(np.zeros((64, 64, 3), np.uint8), 0.0, 1.0, "score 0.42")
    >>> picture.height > 64
    True
    """
    height, width = picture.shape[:2]
    canvas = Image.new("RGB", (width, height + BAR_PX), "white")
    canvas.paste(Image.fromarray(picture), (0, 0))
    length = max(32, width // 4)
    ramp = np.tile(color_table()[np.linspace(0, 255, length).astype(int)], (8, 1, 1))
    draw = ImageDraw.Draw(canvas)
    middle = height + BAR_PX // 2
    draw.text((4, middle), f"{low:.2f}", fill="black", anchor="lm")
    left = 8 + int(draw.textlength(f"{low:.2f}"))
    canvas.paste(Image.fromarray(ramp), (left, middle - 4))
    draw.text((left + length + 4, middle), f"{high:.2f}", fill="black", anchor="lm")
    draw.text((width - 4, middle), label, fill="black", anchor="rm")
    return canvas


def calibrated_range(normal_scores: Sequence[float], threshold: float) -> tuple[float, float]:
    """Return the (low, high) of the scale of a calibrated detector, the same for every image.

    >>> calibrated_range([0.1, 0.2, 0.3], threshold=0.4)
    (0.2, 0.8)

    From the median of the held-out normal images' scores, which hardly any normal pixel exceeds;
    the threshold lies a third of the way up.
    """
    low = float(np.median(normal_scores))
    return low, round(low + max(RANGE_TOP * (threshold - low), 1e-6), 9)


def common_range(maps: Iterable[NDArray[np.floating]]) -> tuple[float, float]:
    """Return a (low, high) that spans the maps at hand: colors compare among these images alone.

    >>> common_range([np.array([[0.0, 0.1, 0.2]]), np.array([[0.0, 0.3, 0.9]])])
    (0.3, 0.9)

    From the largest of the maps' own medians to the largest value.
    """
    low, high = 0.0, 0.0
    for anomaly_map in maps:
        low, high = max(low, float(np.median(anomaly_map))), max(high, float(anomaly_map.max()))
    return low, max(high, low + 1e-6)
