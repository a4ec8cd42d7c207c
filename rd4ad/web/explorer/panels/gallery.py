"""The gallery of a run's test images: image, outlined mask, map over it, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from PIL import Image

from rd4ad import metrics
from rd4ad.inference.overlay import OUTLINE, outline, overlaid
from rd4ad.runs import rescoring
from rd4ad.runs.rescoring import own_scoring
from rd4ad.runs.run import Run
from rd4ad.scoring import anomaly_maps
from rd4ad.web.explorer import run_cache
from rd4ad.web.explorer.units import Units

VIEWS = {"overlay": "Map over image", "image": "Image", "map": "Map"}
MEANING = {
    "found": "Defective images with a score at or above the threshold.",
    "missed defect": "Defective images with a score below the threshold.",
    "false alarm": "Normal images with a score at or above the threshold.",
    "passed": "Normal images with a score below the threshold.",
}
_MARKS = {"found": "✓", "passed": "✓", "missed defect": "✗", "false alarm": "✗"}
NO_PHOTOS = (
    "The photos are not on this machine: set RD4AD_DATA to the folder of the dataset to see them."
)
_PER_ROW = 4
_MARGIN = 0.02  # of the range of scores, left free at both ends of the slider


@dataclass(frozen=True)
class Start:
    """A threshold to begin with and where it comes from."""

    value: float
    origin: str


def first_threshold(run: Run, images: pd.DataFrame) -> Start:
    """Return the run's own threshold, or else the one of the best F1 on these test images."""
    low, high = score_range(images)
    own = run.record.get("threshold")
    if own is not None and low <= own <= high:
        note = run.record.get("threshold_note", "its source is not recorded")
        return Start(round(own, 3), f"Starts at the run's own threshold: {note}.")
    best = metrics.best_threshold(images["label"], images["score"])
    value = float(images["score"].median()) if np.isnan(best) else best
    return Start(
        min(max(round(value, 3), low), high),
        "Begins at the best F1 on these very test images, since the run carries no threshold of "
        "its own: for looking, not for use.",
    )


def score_range(images: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the threshold slider, in thousandths: all scores and a little more."""
    low, high = float(images["score"].min()), float(images["score"].max())
    margin = max((high - low) * _MARGIN, 0.001)
    return round(max(low - margin, 0), 3), round(high + margin, 3)


def show_counts(counts: Mapping[str, int], units: Units) -> None:
    """Show the counts of a threshold as a table of two by two, each with its rate and interval."""
    rates = rescoring.rates(counts)
    rows = {"Defective": ("found", "missed defect"), "Normal": ("false alarm", "passed")}
    for title, names in rows.items():
        n = sum(counts[name] for name in names)
        st.markdown(f"**{title}**, {n} images")
        for place, name in zip(st.columns(2, wrap=False), names, strict=True):
            with place.container(border=True):
                st.metric(name.capitalize(), counts[name], help=MEANING[name])
                share, low, high = rates[name]
                st.caption(f"{units.text(share)} [{units.text(low)}, {units.text(high)}]")
    st.caption(
        f"Below each count its share of the row, {units.name}, and the 95% interval of Clopper and "
        "Pearson."
    )


def show(run: Run, chosen: pd.DataFrame, threshold: float, view: str, opacity: float) -> None:
    """Show images of a run with what was decided about each.

    Args:
        run: whose images.
        chosen: rows of its table of images with `outcome`, in the order to show.
        threshold: from which a pixel is called defective; ends of the colors follow from it.
        view: a key of `VIEWS`.
        opacity: of the map's full color.
    """
    maps = default_maps(run, list(chosen.index))
    masks = run_cache.masks_of(run)
    pictures = [run_cache.test_image(run, name) for name in chosen["image"]]
    if view == "map" or all(picture is None for picture in pictures):
        if view != "map":
            st.info(
                "The images of this run are not on this machine, so the maps stand alone. Set "
                "RD4AD_DATA to the folder of categories to see them."
            )
        pictures = [np.full((*one.shape, 3), 24, np.uint8) for one in maps]
        opacity = 1.0
    low, high = _ends(run, threshold)
    columns = st.columns(_PER_ROW)
    rows = zip(chosen.index, chosen.to_dict("records"), pictures, maps, strict=True)
    for place, (position, row, picture, one) in enumerate(rows):
        said = (
            f"{_MARKS[row['outcome']]} {row['outcome']} · {row['defect_type'].replace('_', ' ')} · "
            f"{row['score']:.3f}"
        )
        with columns[place % _PER_ROW]:
            if picture is None:
                st.info(f"{row['image']} is not on this machine.")
                continue
            drawn = (
                picture if view == "image" else overlaid(picture, one, low, high, opacity=opacity)
            )
            if masks is not None:
                drawn = outline(drawn, masks[position], OUTLINE)
            st.image(drawn, caption=said, width="stretch", output_format="JPEG",
                     alt=f"{row['image']}: {said}")  # fmt: skip
    st.caption(
        f"✓ right, ✗ wrong at this threshold; then the type and the score. Colors run from "
        f"{low:.2f} (clear) to {high:.2f}."
        + ("" if masks is None else " The true mask is outlined in green.")
    )


def drawn(picture: run_cache.Pictured, opacity: float = 0.75) -> NDArray[np.uint8]:
    """Return a picture's heatmap over its photo, or over dark ground without it, mask outlined."""
    photo = enlarged(picture.photo)
    if photo is None:
        photo, opacity = np.full((*picture.anomaly_map.shape, 3), 24, np.uint8), 1.0
    shown = overlaid(photo, picture.anomaly_map, picture.low, picture.high, opacity=opacity)
    if picture.mask is None:
        return shown
    return outline(shown, fitted(picture.mask, shown), OUTLINE)


def enlarged(photo: NDArray[np.uint8] | None, times: int = 2) -> NDArray[np.uint8] | None:
    """Return a small photo larger, so that an outline over it is sharp; None stays None."""
    if photo is None:
        return None
    height, width = photo.shape[:2]
    size = (width * times, height * times)
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))


def fitted(mask: NDArray[np.bool_], picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return a mask in the size of a picture."""
    height, width = picture.shape[:2]
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(resized, bool)


def _ends(run: Run, threshold: float) -> tuple[float, float]:
    images = run_cache.images_of(run)
    low = float(images.loc[images["label"] == 0, "score"].median())
    low = min(low, threshold * 0.9) if low == low else threshold / 2  # nan: no normal image
    return low, max(2 * threshold - low, low + 1e-6)


def default_maps(run: Run, positions: list[int]) -> NDArray[np.float32]:
    """Return anomaly maps of some test images of a run at its own scoring."""
    some = {layer: stack[positions] for layer, stack in run_cache.distances_of(run).items()}
    return anomaly_maps(some, own_scoring(run), int(run.record["size_px"]))
