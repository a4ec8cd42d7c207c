"""A checkpoint as one .onnx file: image in, anomaly map and score out, for any ONNX runtime."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from rd4ad.checkpoint import checked_name, read_checkpoint, replace_file
from rd4ad.engine import teacher_tensors
from rd4ad.graph import build_graph, checked_scoring
from rd4ad.scoring import Scoring


def export_onnx(
    checkpoint: str | Path, out: str | Path, *, weights: str | Path | None = None, **changes: Any
) -> None:
    """Write a checkpoint and its teacher as one ONNX model; see `rd4ad.graph.build_graph`.

    Torch is needed only where the teacher's weights are a .pth file.

    Args:
        checkpoint: what training wrote.
        out: file to write, .onnx.
        weights: file or folder of the teacher's weights, as for `Detector.load`.
        changes: fields of `Scoring` that shall differ; the model then carries no threshold.

    Raises:
        FileNotFoundError: no such checkpoint, or its teacher is not here.
        ValueError: no such checkpoint, another teacher, a scoring that it cannot have, or another
            name than .onnx.
        OSError: `out` cannot be written; nothing half-written stays.
    """
    out = checked_name(out, ".onnx")
    text = model_of(checkpoint, weights, **changes)[1].SerializeToString()
    replace_file(out, lambda beside: beside.write_bytes(text))


def model_of(
    checkpoint: str | Path, weights: str | Path | None = None, **changes: Any
) -> tuple[dict[str, Any], onnx.ModelProto]:
    """Return a checkpoint's header and its graph; see `export_onnx` for arguments and errors.

    >>> header, model = model_of("results/detectors/tile.safetensors", layers=(3,))
    >>> [output.name for output in model.graph.output]
    ['anomaly_map', 'score', 'distance_3']
    """
    header, tensors = read_checkpoint(Path(checkpoint))
    scoring = checked_scoring(header, replace(Scoring(**header["scoring"]), **changes))
    return header, build_graph(header, tensors, teacher_tensors(header, weights), scoring)
