"""What is known of a detector, in a few words beside its name: what it learnt, how good it is."""

from html import escape
from pathlib import Path

import pandas as pd

from rd4ad.catalogue import title_of
from rd4ad.evaluation.category import determined_by
from rd4ad.inference.detector import Detector
from rd4ad.runs.dataset_images import GENERATED
from rd4ad.runs.run import Run
from rd4ad.runs.store import read_run, run_id

DATASETS = {
    GENERATED: "drawn by this program",
    "MVTec AD": "photos by MVTec; none of them is here, so drop in yours or those of the dataset",
}
"""Datasets whose runs are looked for, and what is said of their images."""
_METRICS = {"image_auroc": "image AUROC", "pixel_auroc": "pixel AUROC", "aupro": "PRO"}


def card_of(detector: Detector, results: Path) -> str:
    """Return what is known of a detector as HTML; its stored run is found by what determines it.

    >>> detector = Detector.load("results/detectors/tile.safetensors")
    >>> card_of(detector, Path("results")).partition(".")[0]
    '<b>Tile</b> of Generated parts (drawn by this program)'

    Args:
        detector: a loaded one.
        results: folder of results.
    """
    said = detector.config
    category = str(said.get("category") or "part").replace("_", " ")
    dataset, run = _stored(detector, results)
    where = f" of {dataset} ({DATASETS[dataset]})" if dataset else ""
    parts = [f"<b>{escape(category.capitalize())}</b>{where}."]
    n_images = said.get("n_images")
    learnt = f", {n_images} normal images" if n_images else ""
    epochs = f", {said['epochs']} epochs" if said.get("epochs") else ""
    parts.append(
        f"{escape(title_of(detector.engine.method))} with {escape(detector.engine.backbone)}, "
        f"{detector.size_px} px{learnt}{epochs}."
    )
    if run is not None:
        own = run.metrics[run.metrics["is_default"]].set_index("metric")["value"]
        values = [f"{title} {100 * own[name]:.1f}" for name, title in _METRICS.items()
                  if own[name] == own[name]]  # fmt: skip
        parts.append(f"On its {run.record['n_test_images']} test images: {', '.join(values)}%.")
        if licence := _licence(results, dataset):
            parts.append(f"Trained on images under {escape(licence)}.")
    return " ".join(parts)


def _stored(detector: Detector, results: Path) -> tuple[str, Run | None]:
    category = detector.config.get("category")
    if not category or "seed" not in detector.config:
        return "", None
    for dataset in DATASETS:
        path = results / "runs" / run_id(determined_by(detector, dataset, str(category)))
        if path.is_dir():
            try:
                return dataset, read_run(path)
            except ValueError:
                continue  # the explorer says what is broken
    return "", None


def _licence(results: Path, dataset: str) -> str:
    path = results / "published/datasets.csv"
    if not path.is_file():
        return ""
    table = pd.read_csv(path)
    found = table.loc[table["dataset"] == dataset, "licence"].dropna()
    return str(found.iloc[0]) if len(found) else ""
