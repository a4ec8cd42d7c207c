"""The first detector: a memory of patches, from the bundled teacher in ONNX Runtime and NumPy.

The method is `rd4ad.methods.patchcore`. Patches of a photo are computed once; a fit with a photo
more or less takes the coreset alone.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rd4ad.home import WEIGHTS
from rd4ad.inference.checkpoint import SCHEMA, Header, read_tensors, sha256
from rd4ad.inference.graph import build_patch_graph
from rd4ad.inference.onnx_session import OnnxModel, split_weights
from rd4ad.inference.prediction import Calibration
from rd4ad.inference.stored_weights import Tensors
from rd4ad.methods.coreset import greedy_coreset, squared_distances
from rd4ad.scoring import Maps, Scoring, anomaly_maps, scaled_sigma

Patches = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a memory is built.

    Args:
        backbone: a bundled teacher.
        layers: whose features make a patch.
        size_px: side of the images.
        n_rows: patches in the memory at most.
        unit_length: whether each layer's features are scaled to length 1.
        seed: of the coreset.
    """

    backbone: str = "distilled"
    layers: tuple[int, ...] = (2, 3)
    size_px: int = 256
    n_rows: int = 4096
    unit_length: bool = False
    seed: int = 0

    @property
    def scoring(self) -> Scoring:
        """How an image is scored: by the maximum of its smoothed map."""
        return Scoring(layers=self.layers[:1], sigma_px=scaled_sigma(self.size_px))

    @property
    def side(self) -> int:
        """Positions along a side of the map."""
        return self.size_px // 2 ** (1 + self.layers[0])

    @cached_property
    def _model(self) -> OnnxModel:
        tensors = read_tensors(WEIGHTS / f"{self.backbone}.safetensors")[1]
        graph = build_patch_graph(tensors, self.layers, self.size_px, unit_length=self.unit_length)
        return OnnxModel(*split_weights(graph))

    def patches(self, images: NDArray[np.uint8]) -> Patches:
        """Return the patches (N, P, C) of images (N, S, S, 3)."""
        return self._model.outputs(images)["patches"]

    def memory(self, patches: Patches) -> Patches:
        """Return the memory (M, C) of photos' patches (N, P, C)."""
        rows = patches.reshape(-1, patches.shape[2])
        return rows[greedy_coreset(rows, min(self.n_rows, len(rows)), self.seed)]

    def maps(self, patches: Patches, memory: Patches) -> Maps:
        """Return the anomaly maps (N, S, S) of photos' patches (N, P, C)."""
        rows = patches.reshape(-1, patches.shape[2])
        distances = np.sqrt(squared_distances(rows, memory))
        distances = distances.reshape(-1, self.side, self.side)
        return anomaly_maps({self.layers[0]: distances}, self.scoring, self.size_px)

    def held_out_maps(self, patches: Patches, n_folds: int = 5) -> Maps:
        """Return every photo's anomaly map by a memory that lacks it, (N, S, S).

        Photos are left out by folds: photo i with all of i + `n_folds`, i + 2 `n_folds`, ...

        Args:
            patches: (N, P, C), N at least 2.
            n_folds: memories that are built.
        """
        n_folds = min(n_folds, len(patches))
        found = np.empty((len(patches), self.size_px, self.size_px), np.float32)
        for fold in range(n_folds):
            is_out = np.arange(len(patches)) % n_folds == fold
            found[is_out] = self.maps(patches[is_out], self.memory(patches[~is_out]))
        return found

    def checkpoint(
        self, memory: Patches, calibration: Calibration | None, config: dict[str, Any]
    ) -> tuple[Header, Tensors]:
        """Return header and tensors of the detector's checkpoint."""
        file = WEIGHTS / f"{self.backbone}.safetensors"
        header = {
            "schema": SCHEMA,
            "method": "patchcore",
            "backbone": self.backbone,
            "layers": self.layers,
            "settings": {"n_rows": len(memory), "unit_length": self.unit_length},
            "size_px": self.size_px,
            "scoring": asdict(self.scoring),
            "teacher_file": {"name": file.name, "sha256": sha256(file)},
            "calibration": asdict(calibration) if calibration else None,
            "config": config,
            "float16": False,
        }
        return header, {"memory.patches": memory}
