"""A detector whose networks compute in float16, offered only where it judges as in float32.

It is a checkpoint as before, and says so of itself: torch then takes convolutions and sums in 16
bits, which is what a GPU is quickest at. Cosines, fusion and smoothing stay float32. ONNX Runtime
on a CPU, which has no use for it, reads the same file in float32.
"""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from rd4ad.data.folders import open_category
from rd4ad.data.images import read_images
from rd4ad.evaluation.category import read_test
from rd4ad.export.accuracy_gate import Judge, gated, recalibrated
from rd4ad.inference.checkpoint import checked_name, read_checkpoint, replace_file
from rd4ad.inference.detector import Detector
from rd4ad.inference.onnx_session import Outputs


def export_float16(
    checkpoint: Path, out: Path, data: Path, category: str,
    *, weights: str | Path | None = None, device: str = "cpu",
) -> list[dict[str, Any]]:  # fmt: skip
    """Write a checkpoint as one that computes in float16; return its metrics beside float32's.

    The metrics come from the category's test images, and the threshold, where the checkpoint
    carries one, from what float16 scores on the images that were held out of training.

    Args:
        checkpoint: what training wrote.
        out: file to write, .safetensors.
        data: folder of categories in MVTec layout.
        category: the one that the detector was trained on.
        weights: file or folder of the teacher's weights, as for `Detector.load`.
        device: a torch device, whose metrics decide.

    Raises:
        RefusedError: see `rd4ad.export.accuracy_gate.gated`; nothing is written.
        ValueError, FileNotFoundError, OSError: as `Detector.load` and `Detector.save`; or the
            category has other images than the detector was trained on.
        DatasetError: the category lacks training or test images, or has no masks.
    """
    out = checked_name(out, ".safetensors")
    header, tensors = read_checkpoint(checkpoint)
    if header.get("float16"):
        raise ValueError(f"{checkpoint} computes in float16 already: name the one it came from")
    opened = open_category(data, category)
    test, images = read_test(opened, header["size_px"])
    header["float16"] = True

    def write(path: Path) -> None:
        save_file(tensors, path, {"rd4ad": json.dumps(header, sort_keys=True)})

    with tempfile.TemporaryDirectory() as folder:
        marked = Path(folder) / "float16.safetensors"
        write(marked)
        whole, lower = (
            judge_with(Detector.load(path, weights=weights, engine="torch", device=device))
            for path in (checkpoint, marked)
        )
    rows = gated(whole, lower, test, images, "float16")
    if header["calibration"]:
        normal = read_images([sample.path for sample in opened.train], header["size_px"]).images
        quantile = header["calibration"]["quantile"]
        header["calibration"] = asdict(recalibrated(lower, normal, header["config"], quantile))
    replace_file(out, write)
    return rows


def judge_with(detector: Detector) -> Judge:
    """Return what a detector says of images (N, S, S, 3), as `accuracy_gate.gated` asks."""

    def judge(images: NDArray[np.uint8]) -> Outputs:
        distances = detector.distances(images)
        said = detector.judge(distances)
        scores = np.array([one.score for one in said], np.float32)
        return Outputs(distances, np.stack([one.anomaly_map for one in said]), scores)

    return judge
