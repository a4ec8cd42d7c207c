"""What leaves the server about a judged image: the answer as JSON, and the files to keep."""

import base64
import io
import json
import secrets
from collections import OrderedDict
from dataclasses import asdict, replace
from threading import Lock
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from rd4ad.inference.overlay import marked
from rd4ad.web.live.detectors import Judgment
from rd4ad.web.live.uploads import png

_KEPT = 24


class Kept:
    """The latest judgments by an unguessable token, so that drawing them again needs no inference.

    Bounded, so that any number of uploads takes the same memory.
    """

    def __init__(self, at_most: int = _KEPT) -> None:
        self.at_most = at_most
        self._by_token: OrderedDict[str, Judgment] = OrderedDict()
        self._lock = Lock()

    def keep(self, judgment: Judgment) -> str:
        """Return the token under which the judgment is found again, without its layers' maps.

        Drawing it again takes none of them, and they are two thirds of its memory.
        """
        judgment = replace(judgment, layer_maps={})
        token = secrets.token_hex(16)  # as a name in an address it starts with no dash
        with self._lock:
            self._by_token[token] = judgment
            while len(self._by_token) > self.at_most:
                self._by_token.popitem(last=False)
        return token

    def find(self, token: str) -> Judgment | None:
        """Return a judgment; None if it was never there or had to go."""
        with self._lock:
            return self._by_token.get(token)


def beside_normal(judgment: Judgment) -> str:
    """Return how a score lies among those of held-out normal images, in words; empty without them.

    >>> from types import SimpleNamespace
    >>> one = SimpleNamespace(score=0.5, normal_scores=(0.1, 0.2, 0.9))
    >>> beside_normal(one)
    'higher than 2 of 3 held-out normal images'
    """
    n = len(judgment.normal_scores)
    below = sum(judgment.score > score for score in judgment.normal_scores)
    if not n:
        return ""
    if below == n:
        return f"higher than all {n} held-out normal images"
    if not below:
        return f"lower than all {n} held-out normal images"
    return f"higher than {below} of {n} held-out normal images"


def drawn(judgment: Judgment, threshold: float, opacity: float) -> NDArray[np.uint8]:
    """Return the picture with its map over it and what lies above the threshold outlined."""
    low, high = judgment.scale()
    return marked(
        judgment.picture, judgment.anomaly_map, low, high, opacity=opacity, threshold=threshold
    )


def answer(judgment: Judgment, threshold: float) -> dict[str, Any]:
    """Return score, verdict and regions; plain numbers, ready for JSON."""
    width, height = judgment.size
    shown_height, shown_width = judgment.picture.shape[:2]
    return {
        "detector": judgment.detector,
        "score": judgment.score,
        "threshold": threshold,
        "threshold_is_calibrated": threshold == judgment.threshold,
        "verdict": judgment.verdict(threshold),
        "is_foreign": judgment.is_foreign(),
        "layer_shares": {str(layer): share for layer, share in judgment.shares.items()},
        "image": {"width": width, "height": height},
        "regions_in": {"width": shown_width, "height": shown_height},
        "regions": [asdict(region) for region in judgment.regions(threshold)],
    }


def with_map(said: dict[str, Any], judgment: Judgment) -> dict[str, Any]:
    """Return an answer with the anomaly map: float32 TIFF in base64."""
    coded = base64.b64encode(tiff(judgment)).decode()
    return said | {"map": {"shape": judgment.anomaly_map.shape, "tiff_base64": coded}}


def tiff(judgment: Judgment) -> bytes:
    """Return the anomaly map as float32 TIFF."""
    download_bytes = io.BytesIO()
    tifffile.imwrite(download_bytes, judgment.anomaly_map)
    return download_bytes.getvalue()


FILES = {
    "overlay.png": "image/png",
    "map.tiff": "image/tiff",
    "answer.json": "application/json",
}
"""What can be downloaded of a judgment, and its media type."""


def download_bytes(judgment: Judgment, name: str, threshold: float, opacity: float) -> bytes:
    """Return one of `FILES`."""
    if name == "overlay.png":
        return png(drawn(judgment, threshold, opacity))
    if name == "map.tiff":
        return tiff(judgment)
    return json.dumps(answer(judgment, threshold), indent=1).encode()
