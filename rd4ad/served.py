"""A detector that judges without torch: the checkpoint as one graph in ONNX Runtime."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rd4ad.checkpoint import Tensors, find_teacher, read_checkpoint, read_tensors
from rd4ad.engine import OnnxEngine
from rd4ad.graph import NoGraphError, build_graph, checked_scoring
from rd4ad.prediction import Calibration, Prediction, predictions
from rd4ad.scoring import Maps, Scoring


class ServedDetector:
    """What `Detector` is where it only judges: uint8 images in, NumPy out.

    >>> detector = ServedDetector.load("results/detectors/tile.safetensors", n_threads=1)
    >>> distances = detector.distances(np.zeros((1, 256, 256, 3), np.uint8))
    >>> {layer: maps.shape for layer, maps in distances.items()}
    {1: (1, 64, 64), 2: (1, 32, 32), 3: (1, 16, 16)}
    >>> detector.judge(distances)[0].is_anomalous  # a black square is no tile
    True

    Args:
        model: bytes of a model that `rd4ad.graph.build_graph` built.
        n_threads: threads of one image; by default one a core.

    Raises:
        ValueError: no such model.
    """

    def __init__(self, model: bytes, n_threads: int | None = None) -> None:
        self.engine = OnnxEngine(model, n_threads)
        about = self.engine.description
        self.size_px: int = about["size_px"]
        self.scoring = Scoring(**about["scoring"])
        calibration = about["calibration"]
        self.calibration = (
            Calibration(scores=tuple(calibration["scores"]), quantile=calibration["quantile"])
            if calibration
            else None
        )

    @classmethod
    def load(
        cls, path: str | Path, *, weights: str | Path | None = None, n_threads: int | None = None
    ) -> "ServedDetector":
        """Return the detector of a checkpoint, or of a model that `rd4ad export` wrote.

        Args:
            path: .safetensors or .onnx.
            weights: file or folder of the teacher's weights; found as in `find_teacher` otherwise.
            n_threads: threads of one image; by default one a core.

        Raises:
            FileNotFoundError: no such file.
            NoGraphError: it takes torch: another method, or a teacher of which there is no
                .safetensors file.
            ValueError: truncated, not a checkpoint or model of this package, or damaged.
        """
        path = Path(path)
        checkpoint = None if path.suffix == ".onnx" else read_checkpoint(path)
        try:
            return cls(_model(*checkpoint, weights) if checkpoint else path.read_bytes(), n_threads)
        except NoGraphError:
            raise
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def distances(self, images: NDArray[np.uint8]) -> dict[int, Maps]:
        """Return the distance maps by layer, (N, h, w) float32, of images (N, S, S, 3) uint8."""
        return self.engine.run(images).distances

    def judge(self, distances: Mapping[int, Maps]) -> list[Prediction]:
        """Return the predictions for distance maps by layer, (N, h, w) each."""
        return predictions(distances, self.scoring, self.size_px, self.calibration)


def _model(header: Mapping[str, Any], tensors: Tensors, weights: str | Path | None) -> bytes:
    checked_scoring(header)  # before a teacher is looked for
    teacher = find_teacher(header, weights)
    if teacher is None:
        raise NoGraphError(
            f"of its teacher's file {header['teacher_file']['name']} there is no .safetensors copy "
            "with the same sha256 here; without torch, use the .onnx file that rd4ad export "
            "writes where torch is installed"
        )
    return build_graph(header, tensors, read_tensors(teacher)[1]).SerializeToString()
