"""A checkpoint as one model for other runtimes, ONNX or OpenVINO: image in, map and score out."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx

from rd4ad.inference.checkpoint import checked_name, read_checkpoint, replace_file
from rd4ad.inference.graph import build_graph, checked_scoring
from rd4ad.inference.onnx_engine import teacher_tensors
from rd4ad.scoring import Scoring


def export_onnx(
    checkpoint: str | Path, out: str | Path, *, weights: str | Path | None = None, **changes: Any
) -> None:
    """Write a checkpoint and its teacher as one ONNX model; see `inference.graph.build_graph`.

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


def export_openvino(
    checkpoint: str | Path, out: str | Path, *, weights: str | Path | None = None, **changes: Any
) -> None:
    """Write the model of `export_onnx` in OpenVINO's format: `out`, .xml, and its weights, .bin.

    OpenVINO computes in bfloat16 where the processor has it, which moves maps by some thousandths;
    `INFERENCE_PRECISION_HINT: f32` when compiling keeps them. What the ONNX model has as metadata,
    threshold and normal scores among it, is the text `rd4ad` of the model's runtime information.

    Raises:
        ValueError: OpenVINO is not installed; the rest as in `export_onnx`, .xml instead of .onnx.
        FileNotFoundError, OSError: as in `export_onnx`.
    """
    try:
        import openvino
    except ImportError as error:
        raise ValueError("OpenVINO is not installed: pip install openvino") from error
    out = checked_name(out, ".xml")
    exported = model_of(checkpoint, weights, **changes)[1]
    model = openvino.Core().read_model(exported.SerializeToString())
    model.set_rt_info(
        {entry.key: entry.value for entry in exported.metadata_props}["rd4ad"], "rd4ad"
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        beside = Path(folder) / out.name
        openvino.save_model(model, beside, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):  # whoever finds the .xml finds its weights
            beside.with_suffix(suffix).replace(out.with_suffix(suffix))


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
