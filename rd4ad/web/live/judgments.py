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
from rd4ad.web.live.detectors import Judgement
from rd4ad.web.live.uploads import png

_KEPT = 48


class Kept:
    """The latest judgements by an unguessable token, so that drawing them anew needs no inference.

    Bounded, so that any number of uploads takes the same memory.
    """

    def __init__(self, at_most: int = _KEPT) -> None:
        self.at_most = at_most
        self._by_token: OrderedDict[str, Judgement] = OrderedDict()
        self._lock = Lock()

    def keep(self, judgement: Judgement) -> str:
        """Return the token under which the judgement is found again, without its layers' maps.

        Drawing it again takes none of them, and they are two thirds of its memory.
        """
        judgement = replace(judgement, layer_maps={})
        token = secrets.token_hex(16)  # as a name in an address it starts with no dash
        with self._lock:
            self._by_token[token] = judgement
            while len(self._by_token) > self.at_most:
                self._by_token.popitem(last=False)
        return token

    def find(self, token: str) -> Judgement | None:
        """Return a judgement; None if it was never there or had to go."""
        with self._lock:
            return self._by_token.get(token)


def drawn(judgement: Judgement, threshold: float, opacity: float) -> NDArray[np.uint8]:
    """Return the picture with its map over it and what lies above the threshold outlined."""
    low, high = judgement.scale()
    return marked(
        judgement.picture, judgement.anomaly_map, low, high, opacity=opacity, threshold=threshold
    )


def answer(judgement: Judgement, threshold: float) -> dict[str, Any]:
    """Return score, verdict and regions; plain numbers, ready for JSON."""
    width, height = judgement.size
    shown_height, shown_width = judgement.picture.shape[:2]
    return {
        "detector": judgement.detector,
        "score": judgement.score,
        "threshold": threshold,
        "threshold_is_calibrated": threshold == judgement.threshold,
        "verdict": judgement.verdict(threshold),
        "layer_shares": {str(layer): share for layer, share in judgement.shares.items()},
        "image": {"width": width, "height": height},
        "regions_in": {"width": shown_width, "height": shown_height},
        "regions": [asdict(region) for region in judgement.regions(threshold)],
    }


def with_map(said: dict[str, Any], judgement: Judgement) -> dict[str, Any]:
    """Return an answer with the anomaly map: float32 TIFF in base64."""
    coded = base64.b64encode(tiff(judgement)).decode()
    return said | {"map": {"shape": judgement.anomaly_map.shape, "tiff_base64": coded}}


def tiff(judgement: Judgement) -> bytes:
    """Return the anomaly map as float32 TIFF."""
    file = io.BytesIO()
    tifffile.imwrite(file, judgement.anomaly_map)
    return file.getvalue()


FILES = {
    "overlay.png": "image/png",
    "map.tiff": "image/tiff",
    "answer.json": "application/json",
}
"""What can be downloaded of a judgement, and its media type."""


def file(judgement: Judgement, name: str, threshold: float, opacity: float) -> bytes:
    """Return one of `FILES`."""
    if name == "overlay.png":
        return png(drawn(judgement, threshold, opacity))
    if name == "map.tiff":
        return tiff(judgement)
    return json.dumps(answer(judgement, threshold), indent=1).encode()
