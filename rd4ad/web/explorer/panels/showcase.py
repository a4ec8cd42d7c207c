"""The method at work on generated parts: what the first screen and Limitations draw."""

from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from rd4ad.data.parts import render
from rd4ad.inference.detector import Detector
from rd4ad.inference.overlay import calibrated_range, overlaid
from rd4ad.web.explorer import index_cache
from rd4ad.web.explorer.index_cache import modified_at

PART, DEFECT = "bottle", "contamination"
_SHOWN = {"good": 3, DEFECT: 5}
"""Which generated image stands for each; neither was trained on."""


@dataclass(frozen=True, eq=False)
class Shown:
    """One image, its heatmap over it, and what the detector says of it."""

    image: NDArray[np.uint8]
    heatmap: NDArray[np.uint8]
    score: float
    threshold: float


def pair() -> tuple[Shown, Shown] | None:
    """Return a normal and a defective image with their heatmaps; None without the detector."""
    file = index_cache.RESULTS / f"detectors/{PART}.safetensors"
    return _pair(str(file), modified_at(file)) if file.is_file() else None


@st.cache_resource(show_spinner=False, max_entries=2)
def _pair(file: str, modified: float) -> tuple[Shown, Shown] | None:
    detector = Detector.load(file)
    if detector.calibration is None:
        return None
    threshold = detector.calibration.threshold
    low, high = calibrated_range(detector.calibration.scores, threshold)
    images = [render(PART, kind, index)[0] for kind, index in _SHOWN.items()]
    shown = [
        Shown(image, overlaid(image, found.anomaly_map, low, high), found.score, threshold)
        for image, found in zip(images, detector.predict(images), strict=True)
    ]
    return shown[0], shown[1]
