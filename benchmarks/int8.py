"""Judge and time detectors in 8-bit integers beside float32: int8.py DATA CHECKPOINT...

Metrics are of the test images of the category that a checkpoint was trained on, whether or not
`rd4ad export --int8` would refuse them. Times are of one image, all in one process, in turn.
"""

import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
from host import interleaved, summary, write

from rd4ad.data.folders import open_category
from rd4ad.data.images import read_images
from rd4ad.evaluation.category import read_test
from rd4ad.export.accuracy_gate import GATE, compared
from rd4ad.export.int8 import quantized
from rd4ad.export.onnx_file import model_of
from rd4ad.inference.onnx_session import OnnxModel, split_weights

ROUNDS, REST_SECONDS = 30, 0.05
KINDS = ("float32", "int8")


def n_float_convolutions(model: onnx.ModelProto) -> str:
    """Return how many convolutions of how many kept their weights as they were."""
    constants = {tensor.name for tensor in model.graph.initializer}
    found = [node.input[1] in constants for node in model.graph.node if node.op_type == "Conv"]
    return f"{sum(found)} of {len(found)}"


def judged(
    name: str, checkpoint: str, data: str
) -> tuple[list[dict[str, Any]], dict[str, Callable[[], Any]]]:
    """Return the metrics of a checkpoint in float32 and in integers, and what is to be timed."""
    header, model = model_of(checkpoint)
    opened = open_category(data, header["config"]["category"])
    normal = read_images([sample.path for sample in opened.train], header["size_px"]).images
    test, images = read_test(opened, header["size_px"])
    integers = quantized(model, normal)
    kept = n_float_convolutions(integers)
    models = {
        kind: OnnxModel(*split_weights(graph)) for kind, graph in zip(KINDS, (model, integers))
    }
    rows = [
        {"case": name, "metric": row["metric"]}
        | {key: round(row[key], 4) for key in (*KINDS, "difference")}
        | {"in_float32": kept, "passes": abs(row["difference"]) <= GATE}
        for row in compared(*(m.run for m in models.values()), test, images, "int8")
    ]
    cases = {f"{name}, {kind}": lambda m=models[kind]: m.run(images[:1]) for kind in KINDS}
    return rows, cases


def main() -> None:
    """Measure and write."""
    data, *checkpoints = [word for word in sys.argv[1:] if not word.startswith("--")]
    rows: list[dict[str, Any]] = []
    cases: dict[str, Callable[[], Any]] = {}
    for checkpoint in checkpoints:
        name = Path(checkpoint).stem
        more, runs = judged(name, checkpoint, data)
        rows, cases = rows + more, cases | runs
    for run in cases.values():
        run()  # the first call allocates
    seconds = interleaved(cases, ROUNDS, REST_SECONDS)
    rows += [{"case": name} | summary(values) for name, values in seconds.items()]
    ratios = []
    for checkpoint in checkpoints:
        ours, theirs = (seconds[f"{Path(checkpoint).stem}, {kind}"] for kind in KINDS)
        ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
        ratios.append(
            {"ratio": f"{Path(checkpoint).stem}: float32 / int8", "median": round(ratio, 2)}
        )
    note = (
        f"`rd4ad export --int8` writes a model whose metrics each stay within {GATE}. One image, "
        f"uint8 to smoothed map and score, {os.cpu_count()} threads, {ROUNDS} interleaved rounds."
    )
    write("int8", rows, ratios, note)


if __name__ == "__main__":
    main()
