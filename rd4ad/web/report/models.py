"""What the static site computes with: distance maps for the laboratory, detectors as ONNX."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper

from rd4ad.export.onnx_file import model_of
from rd4ad.export.packed import with_small_weights
from rd4ad.home import WEIGHTS
from rd4ad.inference.checkpoint import read_tensors
from rd4ad.inference.graph import build_patch_graph, describe
from rd4ad.inference.graph_nodes import IR_VERSION, OPSET
from rd4ad.runs.index import read_index
from rd4ad.runs.run import Run
from rd4ad.runs.store import read_run
from rd4ad.scoring import IMAGE, Scoring
from rd4ad.teach.memory import Recipe
from rd4ad.web.explorer import run_text, tables
from rd4ad.web.report.data import file_name

EXAMPLES = Path(__file__).resolve().parents[1] / "live/examples"
BROWSER_ROWS = 2048
"""Patches of a memory that is fitted in a browser: half as many as elsewhere, for its time."""
_SHOWN_METRICS = ("image_auroc", "pixel_auroc", "aupro")
_NO_PART = "mnist"  # detectors of digits have a tab of their own in the live demo, and no photo


def write_laboratory(results: Path, out: Path) -> int:
    """Write the distance maps of the main runs below data/lab, and return how many there are.

    One run a category and method, RD4AD's also for each image size. Masks go along only where the
    run keeps them, which is where their license lets it.

    Args:
        results: folder of results.
        out: folder of the site.
    """
    folder = out / "data/lab"
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    try:
        runs = tables.in_order(read_index(results, is_default=True))
    except FileNotFoundError:
        runs = pd.DataFrame()
    for row in _chosen(runs):
        run = read_run(results / "runs" / row["run_id"])
        if set(run.codes()[0]) - {IMAGE}:
            told.append(_laboratory(run, row, folder))
    _write(out / "data/laboratory.json", told)
    return len(told)


def _chosen(runs: pd.DataFrame) -> list[dict[Any, Any]]:
    if runs.empty:
        return []
    of_layers = runs[runs["layers"] == "1+2+3"]
    keys = ["dataset", "category", "method", "size_px"]
    return of_layers[of_layers["size_px"] >= 64].drop_duplicates(keys).to_dict("records")


def _laboratory(run: Run, row: dict[Any, Any], folder: Path) -> dict[str, Any]:
    codes, steps = run.codes()
    images, masks = run.images(), run.masks()
    layers = {layer: stack for layer, stack in sorted(codes.items()) if layer != IMAGE}
    parts = [stack.astype("<u2").tobytes() for stack in layers.values()]
    if masks is not None:
        parts.append(np.packbits(masks.ravel()).tobytes())
    (folder / f"{row['run_id']}.bin").write_bytes(b"".join(parts))
    # Misplaced parts first, then other defects, then normal images.
    first = images["defect_type"].ne("misplaced").astype(int) + 2 * images["label"].eq(0)
    return {
        "id": row["run_id"],
        "dataset": row["dataset"],
        "category": row["category"],
        "setting": run_text.run_label(row),
        "size_px": int(row["size_px"]),
        "layers": {
            str(layer): {"side": stack.shape[1], "step": float(steps[layer])}
            for layer, stack in layers.items()
        },
        "labels": images["label"].astype(int).tolist(),
        "names": [
            name.removeprefix("test/").removesuffix(".png") for name in images["image"].astype(str)
        ],
        "order": np.argsort(first.to_numpy(), kind="stable").tolist(),
        "has_masks": masks is not None,
        "stored": {name: float(row[name]) for name in _SHOWN_METRICS if not pd.isna(row[name])},
    }


def write_detectors(checkpoints: Sequence[Path], out: Path) -> list[str]:
    """Write detectors as ONNX models below detectors/, with their examples; return their names.

    Args:
        checkpoints: of detectors; those of digits are left out.
        out: folder of the site.

    Raises:
        ValueError, FileNotFoundError: a checkpoint cannot be exported; see `export_onnx`.
    """
    folder = out / "detectors"
    folder.mkdir(parents=True, exist_ok=True)
    told = []
    for checkpoint in checkpoints:
        if checkpoint.stem.startswith(_NO_PART):
            continue
        name = file_name(checkpoint.stem)
        header, model = model_of(checkpoint)
        (folder / f"{name}.onnx").write_bytes(with_small_weights(model).SerializeToString())
        examples = sorted(EXAMPLES.glob(f"{checkpoint.stem}_*.jpg"))
        for example in examples:
            shutil.copy(example, folder / example.name)
        told.append(
            {
                "name": checkpoint.stem,
                "file": f"detectors/{name}.onnx",
                "examples": [f"detectors/{example.name}" for example in examples],
                **describe(header, Scoring(**header["scoring"])),
            }
        )
    _write(out / "data/detectors.json", told)
    return [str(one["name"]) for one in told]


def write_teacher(out: Path) -> None:
    """Write what learning in the browser needs: the teacher's patches, a search, and the recipe.

    Args:
        out: folder of the site.
    """
    recipe = replace(Recipe(), n_rows=BROWSER_ROWS)
    tensors = read_tensors(WEIGHTS / f"{recipe.backbone}.safetensors")[1]
    graph = build_patch_graph(tensors, recipe.layers, recipe.size_px, pool=recipe.pool)
    folder = out / "detectors"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "patches.onnx").write_bytes(with_small_weights(graph).SerializeToString())
    (folder / "search.onnx").write_bytes(search_graph().SerializeToString())
    header, _ = recipe.checkpoint(np.zeros((1, 1), np.float32), None, {})
    told = {
        "recipe": asdict(recipe),
        "side": recipe.side,
        "sigma_px": recipe.scoring.sigma_px,
        "header": header,
    }
    _write(out / "data/teach.json", told)


def search_graph() -> onnx.ModelProto:
    """Return a model of products of rows with others, (P, M), and each row's largest, (P, 1).

    Its inputs are `rows` (P, C), `others` (M, C) and `bias` (M), which is added to every row.
    """
    float32 = TensorProto.FLOAT
    nodes = [
        helper.make_node("Gemm", ["rows", "others", "bias"], ["products"], transB=1),
        helper.make_node("ReduceMax", ["products"], ["best"], axes=[1], keepdims=1),
    ]
    graph = helper.make_graph(
        nodes,
        "search",
        [
            helper.make_tensor_value_info("rows", float32, ["p", "c"]),
            helper.make_tensor_value_info("others", float32, ["m", "c"]),
            helper.make_tensor_value_info("bias", float32, ["m"]),
        ],
        [
            helper.make_tensor_value_info("products", float32, ["p", "m"]),
            helper.make_tensor_value_info("best", float32, ["p", 1]),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False), encoding="utf-8")
