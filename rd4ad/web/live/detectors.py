"""Detectors at the service of the live demo and the API."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects, label

from rd4ad.data.images import fitted
from rd4ad.inference.detector import Detector
from rd4ad.inference.overlay import calibrated_range, common_range
from rd4ad.scoring import Maps, anomaly_maps

SHOWN_PX = 768
"""Longest side of the picture kept for drawing; the judgment itself is of the whole image."""
WAITING_SECONDS = 30.0
"""A request that has waited so long for its turn is refused; judging itself takes far less."""
TAUGHT = "taught:"
FOREIGN_SHARE = 0.5
"""Of the map. Measured with the bundled detectors: defects of the own part reach 0.41 at most
(bottle of MVTec AD), images of other parts mostly 0.7 to 1, and 0.04 to 0.4 where two parts look
alike."""
MOST_LOADED = 4  # detectors kept in memory
_EIGHT_CONNECTED = np.ones((3, 3), int)


class BusyError(RuntimeError):
    """Too many requests wait already."""


@dataclass(frozen=True)
class Region:
    """One connected region above the threshold, in pixels of the picture.

    Args:
        x, y, width, height: its bounding box.
        area: its share of the picture, in [0, 1].
        peak: largest value of the anomaly map in it.
    """

    x: int
    y: int
    width: int
    height: int
    area: float
    peak: float


@dataclass(frozen=True, eq=False)
class Judgment:
    """What a detector says of one image; everything drawn later follows from it.

    Args:
        detector: its name.
        picture: (h, w, 3) the image, at most `SHOWN_PX` a side.
        size: (width, height) of the image as it came.
        score: higher is more anomalous.
        threshold: the detector's own; None where it carries none.
        normal_scores: of held-out normal images.
        anomaly_map: (S, S) float32.
        layer_maps: each layer's own smoothed map (S, S).
        shares: each layer's share of the map at its peak; they sum to one.
    """

    detector: str
    picture: NDArray[np.uint8]
    size: tuple[int, int]
    score: float
    threshold: float | None
    normal_scores: tuple[float, ...]
    anomaly_map: Maps
    layer_maps: dict[int, Maps]
    shares: dict[int, float]

    def scale(self) -> tuple[float, float]:
        """Return the ends of the colors: the detector's calibrated ones, or this map's own."""
        if self.threshold is None:
            return common_range([self.anomaly_map])
        return calibrated_range(self.normal_scores, self.threshold)

    def verdict(self, threshold: float) -> str:
        """Return "defective" or "normal" at a threshold."""
        return "defective" if self.score > threshold else "normal"

    def share_above_normal(self) -> float:
        """Return which share of the anomaly map lies above every held-out normal image's score.

        A defect covers a part of the picture; of a picture of something else, nearly all of it is
        unlike the part. nan where nothing was held out.
        """
        if self.threshold is None or not self.normal_scores:
            return float("nan")
        top = max(self.threshold, *self.normal_scores)
        return float((self.anomaly_map > top).mean())

    def is_foreign(self) -> bool:
        """Return whether the picture does not look like the detector's part at all."""
        return self.share_above_normal() > FOREIGN_SHARE

    def starting_threshold(self) -> float:
        """Return the detector's threshold, or the middle of the colors where it has none."""
        return sum(self.scale()) / 2 if self.threshold is None else self.threshold

    def regions(self, threshold: float) -> list[Region]:
        """Return the regions above a threshold, highest peak first."""
        height, width = self.picture.shape[:2]
        return regions(self.anomaly_map, threshold, width, height)


def regions(anomaly_map: Maps, threshold: float, width: int, height: int) -> list[Region]:
    """Return the 8-connected regions of a map above a threshold, highest peak first.

    >>> one = np.zeros((8, 8), np.float32)
    >>> one[2:4, 4:8] = 0.9
    >>> regions(one, 0.5, width=80, height=80)
    [Region(x=40, y=20, width=40, height=20, area=0.125, peak=0.9)]

    Args:
        anomaly_map: (S, S).
        threshold: a region is what lies above it.
        width, height: of the picture that the boxes are for.
    """
    numbered, _ = label(anomaly_map > threshold, structure=_EIGHT_CONNECTED)
    rows, columns = anomaly_map.shape
    found = []
    for number, (down, across) in enumerate(find_objects(numbered), start=1):
        inside = numbered[down, across] == number
        left, top = across.start * width / columns, down.start * height / rows
        right, bottom = across.stop * width / columns, down.stop * height / rows
        found.append(
            Region(
                x=round(left),
                y=round(top),
                width=round(right) - round(left),
                height=round(bottom) - round(top),
                area=round(float(inside.sum() / anomaly_map.size), 6),
                peak=round(float(anomaly_map[down, across][inside].max()), 6),
            )
        )
    return sorted(found, key=lambda region: -region.peak)


class Detectors:
    """The detectors of some folders by name, loaded when asked for.

    A name is a file's, so nothing outside the folders can be asked for.

    Args:
        folders: holding .safetensors checkpoints and .onnx models that were exported; later
            folders win where names repeat, and models over checkpoints.
        waiting: how many requests may wait while one is judged; more are refused.
        taught: gives the file of a detector that a visitor taught, by its secret token; such
            detectors are named "taught:<token>" and are in no list.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        waiting: int = 16,
        taught: Callable[[str], Path | None] = lambda token: None,
    ) -> None:
        self.folders, self.taught = tuple(folders), taught
        self._loaded: OrderedDict[tuple[Path, float], Detector] = OrderedDict()
        self._one = threading.Lock()
        self._places = threading.BoundedSemaphore(waiting + 1)

    def files(self) -> dict[str, Path]:
        """Return the files by name, sorted."""
        found = {
            path.stem: path
            for folder in self.folders
            if folder.is_dir()
            for kind in ("*.safetensors", "*.onnx")
            for path in folder.glob(kind)
            if not path.name.startswith(".")
        }
        return dict(sorted(found.items()))

    def find(self, name: str) -> Path | None:
        """Return the file of a detector, taught ones included; None if there is none."""
        if name.startswith(TAUGHT):
            return self.taught(name.removeprefix(TAUGHT))
        return self.files().get(name)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise BusyError("Too many images are waiting: try again in some seconds.")
        try:
            if not self._one.acquire(timeout=WAITING_SECONDS):
                raise BusyError("The server is too busy at the moment: try again later.")
            try:
                yield
            finally:
                self._one.release()
        finally:
            self._places.release()

    def load(self, name: str) -> Detector:
        """Return a detector, from memory if it was used lately and its file is unchanged.

        Raises:
            KeyError: no such name.
            ValueError: its file cannot be used; the message says why.
            FileNotFoundError: its teacher's weights are not here.
        """
        path = self.find(name)
        if path is None:
            raise KeyError(name)
        for old in [key for key in self._loaded if not key[0].exists()]:
            del self._loaded[old]  # a visitor deleted it
        key = (path, path.stat().st_mtime)
        if key not in self._loaded:
            self._loaded[key] = Detector.load(path)
            while len(self._loaded) > MOST_LOADED:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(key)
        return self._loaded[key]

    def judge(self, name: str, image: NDArray[np.uint8]) -> Judgment:
        """Return what the detector `name` says of an image (H, W, 3) uint8.

        Raises:
            BusyError: too many requests wait.
            KeyError, ValueError, FileNotFoundError: see `load`.
        """
        with self._turn():
            detector = self.load(name)
            prediction = detector.predict(image)[0]
        scoring = detector.scoring
        layer_maps = {
            layer: anomaly_maps(
                {layer: distances[None]}, replace(scoring, layers=(layer,)), detector.size_px
            )[0]
            for layer, distances in zip(scoring.layers, prediction.distance_maps, strict=True)
        }
        peak = np.unravel_index(prediction.anomaly_map.argmax(), prediction.anomaly_map.shape)
        at_peak = {layer: float(one[peak]) for layer, one in layer_maps.items()}
        total = sum(at_peak.values()) or 1.0
        calibration = detector.calibration
        return Judgment(
            detector=name,
            picture=fitted(image, SHOWN_PX),
            size=(image.shape[1], image.shape[0]),
            score=prediction.score,
            threshold=calibration.threshold if calibration else None,
            normal_scores=calibration.scores if calibration else (),
            anomaly_map=prediction.anomaly_map,
            layer_maps=layer_maps,
            shares={layer: value / total for layer, value in at_peak.items()},
        )
