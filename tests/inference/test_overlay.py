import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

from rd4ad.inference.overlay import (
    BAR_PX,
    calibrated_range,
    color_table,
    common_range,
    outline,
    overlaid,
    with_scale,
)

GRAY = np.full((40, 60, 3), 120, np.uint8)


def test_what_is_normal_stays_as_it_was():
    drawn = overlaid(GRAY, np.full((8, 8), 0.3), low=0.3, high=1.0)
    np.testing.assert_array_equal(drawn, GRAY)


def test_what_is_anomalous_is_colored_where_it_is():
    hot = np.zeros((4, 6))
    hot[0, 0] = 1.0
    drawn = overlaid(GRAY, hot, low=0.0, high=1.0)
    assert drawn.shape == GRAY.shape
    assert np.abs(drawn[0, 0].astype(int) - 120).max() > 60
    np.testing.assert_array_equal(drawn[30, 50], GRAY[30, 50])


def test_no_opacity_draws_nothing():
    np.testing.assert_array_equal(overlaid(GRAY, np.ones((4, 4)), 0.0, 0.5, opacity=0.0), GRAY)


def test_a_scale_that_does_not_rise_is_refused():
    with pytest.raises(ValueError, match="must lie above its start"):
        overlaid(GRAY, np.ones((4, 4)), low=1.0, high=1.0)


def test_an_outline_leaves_the_inside_visible():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 10:50] = True
    drawn = outline(GRAY, mask, (0, 255, 0))
    assert tuple(drawn[10, 10]) == (0, 255, 0)
    assert tuple(drawn[20, 30]) == (120, 120, 120)
    assert tuple(drawn[5, 5]) == (120, 120, 120)


def test_the_scale_is_drawn_below_the_picture_which_stays_whole():
    picture = with_scale(GRAY, 0.1, 0.9, "score 0.5")
    assert picture.size == (60, 40 + BAR_PX)
    np.testing.assert_array_equal(np.asarray(picture)[:40], GRAY)
    assert len(np.unique(np.asarray(picture)[40:].reshape(-1, 3), axis=0)) > 10


def test_a_calibrated_scale_starts_where_normal_images_end():
    assert calibrated_range((0.2, 0.3, 0.4), 0.5) == (0.3, 0.9)


def test_an_uncalibrated_scale_is_common_to_all_images_and_rises_even_for_flat_maps():
    quiet, loud = np.full((4, 4), 0.1), np.full((4, 4), 0.2)
    loud[0, 0] = 0.9
    assert common_range([quiet, loud]) == (0.2, 0.9)
    low, high = common_range([np.zeros((4, 4))])
    assert high > low


def by_the_formula(image, anomaly_map, low, high, opacity):
    """Every pixel blended in floating point, also where nothing is to be seen."""
    strength = np.clip((anomaly_map.astype(np.float32) - low) / (high - low), 0, 1)
    size = image.shape[1], image.shape[0]
    full = np.asarray(Image.fromarray(strength).resize(size, Image.Resampling.BILINEAR))
    alpha = opacity * np.minimum(1, 2 * full[..., None])
    colors = color_table()[np.rint(full * 255).astype(np.uint8)]
    return (image * (1 - alpha) + colors * alpha).round().astype(np.uint8)


@pytest.mark.parametrize("spots", [0, 1, 3])
def test_drawing_in_bytes_is_the_formula_to_a_few_levels_and_leaves_the_rest_alone(spots):
    rng = np.random.default_rng(spots)
    image = rng.integers(0, 256, (90, 130, 3), np.uint8)
    anomaly_map = rng.uniform(0, 0.3, (16, 16))
    for _ in range(spots):
        y, x = rng.integers(0, 15, 2)
        anomaly_map[y : y + 2, x : x + 2] = rng.uniform(0.4, 1)
    drawn = overlaid(image, anomaly_map, 0.3, 0.9, opacity=0.8)
    expected = by_the_formula(image, anomaly_map, 0.3, 0.9, 0.8)
    assert np.abs(drawn.astype(int) - expected).max() <= 4
    clear = (expected == image).all(-1)
    assert (np.abs(drawn.astype(int) - image)[clear] <= 2).all()
    assert spots or (drawn == image).all()


@pytest.mark.parametrize("corner", [(0, 0), (70, 100), (30, 40)])
def test_an_outline_in_a_box_is_that_of_the_whole_picture(corner):
    image, mask = np.zeros((400, 300, 3), np.uint8), np.zeros((400, 300), bool)
    y, x = corner
    mask[y : y + 40, x : x + 60] = True
    mask[y + 10 : y + 20, x + 5 : x + 15] = False
    edge = mask & ~binary_erosion(mask, iterations=2, border_value=1)
    drawn = outline(image, mask, (9, 8, 7))
    np.testing.assert_array_equal((drawn == (9, 8, 7)).all(2), edge)
