"""Images in, NumPy out: an engine's distance maps, and what follows from them.

A checkpoint is one .safetensors file: what fitting changed (bottleneck and student) as tensors;
configuration, teacher's name and sha256, and calibration as JSON in its header. The frozen teacher
is not in it: fifteen categories share one teacher, which is found by name and compared by hash.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rd4ad.config import ENGINES, checked_size
from rd4ad.data.images import Picture, read_image, resize_image
from rd4ad.inference import hub
from rd4ad.inference.checkpoint import SCHEMA, Header, read_checkpoint, write_checkpoint
from rd4ad.inference.engine import Engine
from rd4ad.inference.graph import NoGraphError
from rd4ad.inference.hub import Evaluated
from rd4ad.inference.onnx_engine import OnnxEngine
from rd4ad.inference.prediction import Calibration, Prediction, predictions
from rd4ad.scoring import Maps, Scoring


class Detector:
    """An engine, its scoring and its calibration; images in, NumPy out.

    >>> detector = Detector.load("results/detectors/tile.safetensors")
    >>> detector.predict(np.zeros((300, 200, 3), np.uint8))[0].is_anomalous  # black is no tile
    True

    Args:
        engine: see `rd4ad.inference.engine.Engine`.
        size_px: side to which images are resized; a multiple of 32.
        scoring: how distance maps are fused and scored.
        teacher_file: `name` and `sha256` of the teacher's weight file.
        calibration: scores of held-out normal images, if there were any.
        calibrations: of a detector of several categories, the same by category; see `of_category`.
        config: the training configuration, kept for the record.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        size_px: int,
        scoring: Scoring,
        teacher_file: dict[str, str],
        calibration: Calibration | None = None,
        calibrations: Mapping[str, Calibration] | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.engine = engine
        self.size_px = checked_size(size_px)
        self.scoring = scoring
        self.teacher_file = teacher_file
        self.calibration = calibration
        self.calibrations = dict(calibrations or {})
        self.config = config or {}

    def distances(
        self,
        images: NDArray[np.uint8],
        layers: tuple[int, ...] | None = None,
        *,
        batch_size: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[int, Maps]:
        """Return the distance maps by layer, (N, h, w) float32, of images (N, S, S, 3) uint8.

        Args:
            images: already resized to the detector's S.
            layers: ascending; all of the engine's by default.
            batch_size: images a forward pass, by default what is fastest; no map depends on it.
            progress: called with (images done, N).

        Raises:
            ValueError: a map holds NaN or infinity: the detector's training diverged.
        """
        step = batch_size or self.engine.batch_size
        parts: list[dict[int, Maps]] = []
        for start in range(0, len(images), step):
            batch = images[start : start + step]
            parts.append(self.engine.distances(batch, layers or self.engine.layers))
            if progress:
                progress(start + len(batch), len(images))
        stacked = {layer: np.concatenate([part[layer] for part in parts]) for layer in parts[0]}
        if not all(np.isfinite(stack).all() for stack in stacked.values()):
            raise ValueError(
                "the detector's distance maps hold NaN or infinity: its training diverged; "
                "train it again with a lower --learning-rate"
            )
        return stacked

    def predict(
        self, images: Picture | Sequence[Picture], *, batch_size: int | None = None
    ) -> list[Prediction]:
        """Return one prediction an image, in order.

        Args:
            images: one or several of: a path, a PIL image, an (H, W, 3) uint8 array.
            batch_size: images a forward pass; changes speed and memory only.

        Raises:
            ValueError: something that is not an image; the message names it.
        """
        if isinstance(images, (str, Path, Image.Image)) or (
            isinstance(images, np.ndarray) and images.ndim == 3
        ):
            images = [images]
        step = batch_size or self.engine.batch_size
        predictions: list[Prediction] = []
        for start in range(0, len(images), step):
            batch = [
                resize_image(read_image(image), self.size_px)
                for image in images[start : start + step]
            ]
            found = self.distances(np.stack(batch), self.scoring.layers, batch_size=step)
            predictions += self.judge(found)
        return predictions

    def judge(self, distances: dict[int, Maps]) -> list[Prediction]:
        """Return the predictions for distance maps by layer, (N, h, w) each."""
        return predictions(
            distances, self.scoring, self.size_px, self.calibration, self.engine.anomaly_maps
        )

    def of_category(self, category: str) -> "Detector":
        """Return this detector with the threshold of one of its categories, sharing the engine.

        A detector of one category is returned as it is. Saved, what is returned is a checkpoint of
        that category alone, which export, the live demo and others take as any.

        Raises:
            ValueError: it was trained on several categories, and this is none of them.
        """
        trained_on = self.config.get("categories", [category])
        if category not in trained_on:
            raise ValueError(
                f"this detector was trained on {', '.join(trained_on)}, not on {category!r}"
            )
        if "categories" not in self.config:
            return self
        return Detector(
            self.engine,
            size_px=self.size_px,
            scoring=self.scoring,
            teacher_file=self.teacher_file,
            calibration=self.calibrations.get(category, self.calibration),
            config=self.config | {"category": category},
        )

    def with_scoring(self, **changes: Any) -> "Detector":
        """Return a detector that shares this one's engine and scores otherwise, uncalibrated."""
        return Detector(
            self.engine,
            size_px=self.size_px,
            scoring=replace(self.scoring, **changes),
            teacher_file=self.teacher_file,
            config=self.config,
        )

    def save(self, path: str | Path, *, store: str = "float32") -> None:
        """Write the checkpoint to `path` (.safetensors), beside it first and then renamed.

        Args:
            store: float32; float16, half the size; or int8, a quarter. Reading gives float32 again,
                rounded.

        Raises:
            ValueError: the name does not end in .safetensors, no such way to store weights, or it
                is an exported model's.
            OSError: the folder cannot be written, or the disk is full; nothing half-written stays.
        """
        write_checkpoint(Path(path), self.header(), self.engine.tensors(), store)

    def header(self) -> dict[str, Any]:
        """Return what a checkpoint says of itself, ready for JSON."""
        return {
            "schema": SCHEMA,
            "method": self.engine.method,
            "backbone": self.engine.backbone,
            "layers": self.engine.layers,
            "settings": self.engine.settings,
            "size_px": self.size_px,
            "scoring": asdict(self.scoring),
            "teacher_file": self.teacher_file,
            "calibration": asdict(self.calibration) if self.calibration else None,
            "calibrations": {name: asdict(one) for name, one in self.calibrations.items()},
            "config": self.config,
            "float16": self.engine.float16,
        }

    def push_to_hub(
        self,
        name: str,
        *,
        run: Evaluated | None = None,
        private: bool = False,
        token: str | None = None,
    ) -> str:
        """Put the detector on the Hugging Face Hub with a card; return its address.

        Args:
            name: "user/name" of the repository, made if it is not there.
            run: in which it was evaluated, for the metrics on the card.
            private: whether a new repository is.
            token: of the Hub, by default the one that is logged in.

        Raises:
            HubError: no login, no right to write there, no network; says what to do.
        """
        text = hub.card(self.header(), name, run)
        with hub.folder_of(self.save, text) as folder:
            return hub.push(folder, name, private=private, token=token)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> "Detector":
        """Return a detector from the Hugging Face Hub, or from a folder laid out like one there.

        Args:
            name: "user/name", or the folder.
            revision: branch, tag or commit.
            token: of the Hub, by default the one that is logged in.
            options: as `load` takes them.

        Raises:
            HubError: no such repository, no detector in it, no network.
            FileNotFoundError, ValueError: see `load`.
        """
        return cls.load(hub.fetch(str(name), revision=revision, token=token), **options)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        weights: str | Path | None = None,
        engine: str | None = None,
        device: str = "cpu",
        n_threads: int | None = None,
    ) -> "Detector":
        """Return the detector that `save` wrote to `path`, or `rd4ad export` did.

        Args:
            path: a .safetensors checkpoint of this package, or an .onnx model.
            weights: file or folder of the teacher's weights; found as in `find_weights` otherwise.
            engine: "onnx" or "torch"; by default ONNX Runtime on the CPU where the method has a
                graph, which takes less time and needs no torch, and torch otherwise.
            device: a torch device.
            n_threads: of ONNX Runtime, by default one a core; torch has its own setting.

        Raises:
            FileNotFoundError: no such file, or the teacher's weights are not here.
            NoGraphError: ONNX Runtime was asked for, and the method has no graph.
            ValueError: truncated, not a checkpoint of this package, of a newer schema, of an
                unknown method, or trained with another teacher file than the one found; an engine
                that cannot run it; or it takes torch, which is not installed.
        """
        path = Path(path)
        if engine not in (None, *ENGINES) or (engine == "onnx" and device != "cpu"):
            raise ValueError(f"the engine is onnx, on the cpu alone, or torch; got {engine}")
        is_exported = path.suffix == ".onnx"
        if engine == "torch" or (engine is None and device != "cpu" and not is_exported):
            return cls._by_torch(path, weights, device)
        try:
            own = OnnxEngine(path, weights=weights, n_threads=n_threads)
        except NoGraphError:
            if engine:
                raise
            return cls._by_torch(path, weights, device)
        return cls._from_header(own, own.header)

    @classmethod
    def _by_torch(cls, path: Path, weights: str | Path | None, device: str) -> "Detector":
        header, tensors = read_checkpoint(path)
        try:
            from rd4ad.inference.torch_engine import load_engine
        except ModuleNotFoundError as error:
            raise ValueError(
                f"{path} takes torch, and {error.name} is not installed: "
                "pip install -r requirements.txt"
            ) from error
        engine = load_engine(header, tensors, str(path), weights=weights, device=device)
        return cls._from_header(engine, header)

    @classmethod
    def _from_header(cls, engine: Engine, header: Header) -> "Detector":
        kept = header["calibration"]
        return cls(
            engine,
            size_px=header["size_px"],
            scoring=Scoring(**header["scoring"]),
            teacher_file=header["teacher_file"],
            calibration=_calibration(kept) if kept else None,
            calibrations={
                name: _calibration(one) for name, one in header.get("calibrations", {}).items()
            },
            config=header["config"] if "config" in header else {"category": header["category"]},
        )

    @classmethod
    def from_official(
        cls,
        checkpoint: str | Path,
        *,
        backbone: str = "wide_resnet50_2",
        weights: str | Path | None = None,
        size_px: int = 256,
        device: str = "cpu",
    ) -> "Detector":
        """Return a detector from a checkpoint of the released code, {"bn": ..., "decoder": ...}.

        Raises:
            FileNotFoundError: no such file, or no teacher weights.
            ValueError: not such a checkpoint, or of another backbone.
        """
        from rd4ad.inference.torch_engine import official_engine

        engine, file = official_engine(Path(checkpoint), backbone, weights=weights, device=device)
        return cls(engine, size_px=size_px, scoring=Scoring(), teacher_file=file)


def _calibration(kept: dict[str, Any]) -> Calibration:
    return Calibration(**{**kept, "scores": tuple(kept["scores"])})
