"""One failure in pictures: the photo, what its mask covers, and the heatmap layer by layer."""

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from rd4ad.inference.overlay import OUTLINE, outline
from rd4ad.runs.run import Run
from rd4ad.scoring import layers_name
from rd4ad.web.explorer import run_cache
from rd4ad.web.explorer.panels import gallery

SHOULD_BE = (230, 159, 0)  # Okabe-Ito orange, apart from the green of where the part is


def choose_image(run: Run) -> str:
    """Return the test image chosen, misplaced parts first."""
    images = run_cache.images_of(run)
    is_first = images["defect_type"].ne("misplaced")
    order = images.assign(later=is_first).sort_values(
        ["later", "label", "image"], ascending=[True, False, True]
    )
    chosen: str = st.selectbox(
        "Test image",
        order["image"].tolist(),
        key="image",
        bind="query-params",
        format_func=lambda name: name.removeprefix("test/").removesuffix(".png"),
        help="Shows another test image of the run, misplaced parts first.",
    )
    return chosen


def show(run: Run, name: str, layers: tuple[int, ...], fusion: str, sigma_px: float) -> None:
    """Show an image of a run under a scoring: photo and mask, fused heatmap, heatmap a layer.

    Args:
        run: a stored one.
        name: of the image.
        layers: of the fused map.
        fusion: of the fused map.
        sigma_px: of the smoothing, of every map.
    """
    fused = run_cache.pictured(run, name, layers, fusion, sigma_px)
    if fused is None:
        st.info(f"{name} is not among the test images of this run.")
        return
    shown = [(_photo_and_mask(run, name, fused), "Photo and mask")] if _has_photo(fused) else []
    shown.append(
        (gallery.drawn(fused), f"Layers {layers_name(layers)}, {fusion}: {fused.score:.2f}")
    )
    for layer in sorted(layer for layer in run_cache.distances_of(run) if layer):
        one = run_cache.pictured(run, name, (layer,), "sum", sigma_px)
        if one is not None:
            shown.append((gallery.drawn(one), f"Layer {layer} alone: {one.score:.2f}"))
    for place, (picture, said) in zip(st.columns(max(len(shown), 4)), shown, strict=False):
        place.image(picture, caption=said, width="stretch", output_format="JPEG",
                    alt=f"{said}, of {name}")  # fmt: skip
    split = run_cache.nominal_of(run)
    st.caption(
        "Numbers: the score. Each heatmap begins at the median score of the run's normal test "
        "images and is full at three times the way to the highest of them. "
        + (
            "Green: the mask, where the part is. Orange: the rest of it, where the part should be. "
            if split is not None and fused.mask is not None
            else ""
        )
        + ("" if _has_photo(fused) else gallery.NO_PHOTOS)
    )


def _has_photo(picture: run_cache.Pictured) -> bool:
    return picture.photo is not None


def _photo_and_mask(run: Run, name: str, picture: run_cache.Pictured) -> NDArray[np.uint8]:
    photo = gallery.enlarged(picture.photo)
    assert photo is not None  # the caller looked
    if picture.mask is None:
        return photo
    place = run_cache.nominal_of(run)
    if place is None or "misplaced" not in name:
        return outline(photo, gallery.fitted(picture.mask, photo), OUTLINE)
    there = outline(photo, gallery.fitted(picture.mask & ~place, photo), OUTLINE)
    return outline(there, gallery.fitted(picture.mask & place, photo), SHOULD_BE)
