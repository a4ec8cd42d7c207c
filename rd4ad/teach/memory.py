"""The first detector: a memory of patches, from the bundled teacher in ONNX Runtime and NumPy.

The method is `rd4ad.methods.patchcore`. Patches of a photo are computed once; a fit with a photo
more or less takes the coreset alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rd4ad.home import WEIGHTS
from rd4ad.inference.checkpoint import SCHEMA, Header, read_tensors, sha256
from rd4ad.inference.graph import build_patch_graph
from rd4ad.inference.memory_graph import map_side
from rd4ad.inference.onnx_session import OnnxModel, split_weights
from rd4ad.inference.prediction import Calibration
from rd4ad.inference.stored_weights import Tensors
from rd4ad.methods.coreset import greedy_coreset, grid, squared_distances
from rd4ad.scoring import Maps, Scoring, anomaly_maps, scaled_sigma
from rd4ad.teach.photos import Photo, alignment

Patches = NDArray[np.float32]
_LIES_STILL = 0.8  # correlation of photos with their mean from which on places count
_SAMPLED = 2048  # patches of either half whose distances are looked at
_CHOSEN_AMONG = 65_536  # patches of 64 photos; held-out scores stay within 1% (docs/LOG.md)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a memory is built.

    Args:
        backbone: a bundled teacher.
        layers: whose features make a patch.
        size_px: side of the images.
        n_rows: patches in the memory at most.
        place: see `rd4ad.methods.patchcore`; None where `settled` shall decide.
        pool: see `rd4ad.methods.patchcore`.
        seed: of the coreset.
    """

    backbone: str = "distilled"
    layers: tuple[int, ...] = (1, 2, 3)
    size_px: int = 256
    n_rows: int = 4096
    place: float | None = None
    pool: int = 2
    seed: int = 0

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Recipe":
        """Return the recipe that `asdict` gave, also after a way through JSON."""
        return cls(**{**record, "layers": tuple(record["layers"])})

    @property
    def scoring(self) -> Scoring:
        """How an image is scored: by the maximum of its smoothed map."""
        return Scoring(layers=self.layers[:1], sigma_px=scaled_sigma(self.size_px))

    @property
    def side(self) -> int:
        """Positions along a side of the map."""
        return map_side(self.layers, self.size_px, self.pool)

    def patches(self, images: NDArray[np.uint8]) -> Patches:
        """Return the patches (N, P, C) of images (N, S, S, 3)."""
        model = _model(self.backbone, self.layers, self.size_px, self.pool)
        return self.with_places(model.outputs(images)["patches"])

    def with_places(self, patches: Patches) -> Patches:
        """Return patches that have no places with them, if this recipe has them."""
        if not self.place:
            return patches
        places = self.place * grid(self.side).reshape(2, -1).T
        return np.concatenate([patches, np.broadcast_to(places, (len(patches), *places.shape))], 2)

    def settled(self, photos: Sequence[Photo], patches: Patches) -> "Recipe":
        """Return the recipe with its `place`, which photos decide where it is not given.

        Where the parts lie still, a patch from a quarter of the picture away counts as far as
        patches of two photos usually lie apart; elsewhere places count nothing.

        Args:
            photos: of good parts.
            patches: theirs, without places.
        """
        if self.place is not None:
            return self
        lies_still = alignment(photos) >= _LIES_STILL
        return replace(self, place=4 * _spacing(patches, self.seed) if lies_still else 0.0)

    def memory(self, patches: Patches) -> Patches:
        """Return the memory (M, C) of photos' patches (N, P, C).

        Of many photos it is chosen among a part of their patches, drawn at random, so that time
        and memory do not grow with their number.
        """
        rows = patches.reshape(-1, patches.shape[2])
        if len(rows) > _CHOSEN_AMONG:
            rng = np.random.default_rng(self.seed)
            rows = rows[np.sort(rng.choice(len(rows), _CHOSEN_AMONG, replace=False))]
        return rows[greedy_coreset(rows, min(self.n_rows, len(rows)), self.seed)]

    def most_similar(self, means: Patches, image: NDArray[np.uint8]) -> int:
        """Return which photo looks most like an image (S, S, 3), by the means of their patches.

        Args:
            means: of the photos' patches, (N, C).
            image: another photo.
        """
        own = self.patches(image[None])[0].mean(0)
        return int(np.linalg.norm(means - own, axis=1).argmin())

    def maps(self, patches: Patches, memory: Patches) -> Maps:
        """Return the anomaly maps (N, S, S) of photos' patches (N, P, C)."""
        rows = patches.reshape(-1, patches.shape[2])
        distances = np.sqrt(squared_distances(rows, memory))
        distances = distances.reshape(-1, self.side, self.side)
        return anomaly_maps({self.layers[0]: distances}, self.scoring, self.size_px)

    def held_out_maps(
        self, patches: Patches, fold_of: NDArray[np.int64], memories: list[Patches]
    ) -> Maps:
        """Return every photo's anomaly map by the memory that lacks its fold, (N, S, S).

        Args:
            patches: (N, P, C).
            fold_of: (N,).
            memories: for each fold one of photos outside it, (M, C).
        """
        found = np.empty((len(patches), self.size_px, self.size_px), np.float32)
        for fold, memory in enumerate(memories):
            found[fold_of == fold] = self.maps(patches[fold_of == fold], memory)
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
            "settings": {"n_rows": len(memory), "place": self.place, "pool": self.pool},
            "size_px": self.size_px,
            "scoring": asdict(self.scoring),
            "teacher_file": {"name": file.name, "sha256": sha256(file)},
            "calibration": asdict(calibration) if calibration else None,
            "config": config,
            "float16": False,
        }
        return header, {"memory.patches": memory}


@lru_cache(maxsize=2)
def _model(backbone: str, layers: tuple[int, ...], size_px: int, pool: int) -> OnnxModel:
    tensors = read_tensors(WEIGHTS / f"{backbone}.safetensors")[1]
    graph = build_patch_graph(tensors, layers, size_px, pool=pool)
    return OnnxModel(*split_weights(graph))


def _spacing(patches: Patches, seed: int) -> float:
    """Return the median distance of a patch of every second photo to the nearest of the others."""
    rng = np.random.default_rng(seed)
    halves = [half.reshape(-1, half.shape[2]) for half in (patches[::2], patches[1::2])]
    some, others = (half[rng.choice(len(half), _SAMPLED)] for half in halves)
    return float(np.median(np.sqrt(squared_distances(some, others))))
