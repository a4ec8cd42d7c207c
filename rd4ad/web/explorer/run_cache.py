"""What stored runs contain, read once and kept: images, curves, maps, and what follows of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from rd4ad.data.folders import DatasetError
from rd4ad.data.one_class import TITLES, images_by_name, set_named
from rd4ad.inference.overlay import calibrated_range, common_range
from rd4ad.runs import dataset_images, rescoring
from rd4ad.runs.comparison import Difference, Resampled, mean_of, resample
from rd4ad.runs.run import Run
from rd4ad.runs.store import read_run
from rd4ad.scoring import IMAGE, anomaly_maps, layers_name, scores
from rd4ad.web.explorer import index_cache
from rd4ad.web.explorer.index_cache import modified_at
from rd4ad.web.explorer.screens import certainty
from rd4ad.web.explorer.screens.category import band, by_setting
from rd4ad.web.explorer.screens.metric_cells import unqualified
from rd4ad.web.explorer.screens.pro_auditor import Upload
from rd4ad.web.explorer.tables import of_category


def novelty_runs() -> list[Run]:
    """Return the listed runs of one-class novelty; what cannot be read is said on the page."""
    return [run for run in map(run_named, index_cache.novelty_names()) if run is not None]


def roc_by_class(runs: Mapping[str, Run]) -> dict[str, pd.DataFrame]:
    """Return the image ROC of runs by class."""
    curves = {name: curves_of(run) for name, run in runs.items()}
    return {name: table[table["curve"] == "image_roc"] for name, table in curves.items()}


def novelty_images(dataset: str) -> dict[str, NDArray[np.uint8]]:
    """Return a novelty set's test images by name; none where they are not here or not to be shown.

    Args:
        dataset: its title.
    """
    chosen = set_named(TITLES[dataset])
    return _novelty_images(index_cache.DATA, TITLES[dataset]) if chosen.is_shown else {}


def run_named(run_id: str) -> Run | None:
    """Return a run, its record and metrics in memory; None, said on the page, if it is broken."""
    try:
        return _run(
            index_cache.RESULTS / "runs" / run_id,
            modified_at(index_cache.RESULTS / "runs" / run_id),
        )
    except ValueError as error:
        st.warning(f"This run cannot be read. {error}", icon=":material/warning:")
        return None


def images_of(run: Run) -> pd.DataFrame:
    """Return the run's table of test images."""
    return _images(run.path, modified_at(run.path))


def curves_of(run: Run) -> pd.DataFrame:
    """Return the run's stored curves."""
    return _curves(run.path, modified_at(run.path))


def certainty_of(cells: pd.DataFrame, first: str, second: str) -> dict[str, Difference]:
    """Return how sure a difference of columns is; see `rd4ad.web.explorer.screens.certainty`."""

    def resampled(run_ids: tuple[str, ...]) -> Resampled:
        paths = [index_cache.RESULTS / "runs" / run_id for run_id in run_ids]
        return mean_of([_resampled(path, modified_at(path)) for path in paths])

    return certainty.column_differences(cells, first, second, resampled)


def distances_of(run: Run) -> dict[int, NDArray[np.float32]]:
    """Return the run's distance maps by layer, (N, h, w)."""
    return _distances(run.path, modified_at(run.path))


def test_image(run: Run, name: str) -> NDArray[np.uint8] | None:
    """Return a test image of a run; see `rd4ad.runs.dataset_images.test_image`."""
    return _picture(run.path, modified_at(run.path), name, index_cache.DATA)


def masks_of(run: Run) -> NDArray[np.bool_] | None:
    """Return the masks of a run's test images; None where they are not to be had here."""
    return _masks(run.path, modified_at(run.path), index_cache.DATA)


def rescored(run: Run, layers: tuple[int, ...], fusion: str, sigma_px: float) -> rescoring.Rescored:
    """Return scores and metrics of a run under another scoring."""
    return _rescored(run.path, modified_at(run.path), index_cache.DATA, layers, fusion, sigma_px)


@dataclass(frozen=True, eq=False)
class Pictured:
    """One test image of a run under a scoring: what a page draws of it.

    Args:
        anomaly_map: (S, S).
        low: where the colors begin.
        high: where they are full.
        score: of the image.
        photo: (S, S, 3); None where it is not on this machine.
        mask: (S, S); None where it is not.
    """

    anomaly_map: NDArray[np.float32]
    low: float
    high: float
    score: float
    photo: NDArray[np.uint8] | None
    mask: NDArray[np.bool_] | None


def pictured(
    run: Run, name: str, layers: tuple[int, ...], fusion: str, sigma_px: float
) -> Pictured | None:
    """Return a test image of a run under a scoring; None if the run has no such image.

    Args:
        run: a stored one.
        name: of the image in the run's table.
        layers: of the anomaly map; empty for the run's own.
        fusion: "sum" or "product".
        sigma_px: of the smoothing.
    """
    found = _pictured(run.path, modified_at(run.path), name, layers, fusion, sigma_px)
    if found is None:
        return None
    anomaly_map, low, high = found
    masks = masks_of(run)
    position = list(images_of(run)["image"]).index(name)
    mask = None if masks is None else masks[position]
    return Pictured(anomaly_map, low, high, float(anomaly_map.max()), test_image(run, name), mask)


def nominal_of(run: Run) -> NDArray[np.bool_] | None:
    """Return where a misplaced part of a run's category should be, (S, S); None where unknown."""
    masks = masks_of(run)
    if masks is None:
        return None
    return dataset_images.nominal_place(run, masks, list(images_of(run)["defect_type"]))


@dataclass(frozen=True)
class Split:
    """Pixel AUROC of misplaced parts by half of their mask, and what it tells."""

    values: dict[str, float]
    explanation: str


def split_by_place(run: Run, layers: tuple[int, ...], fusion: str, sigma_px: float) -> Split | None:
    """Return how misplaced parts are found where they are and where they should be; None without.

    None where the category has no defect `misplaced`, or its masks are not to be had here.
    """
    return _split_by_place(
        run.path, modified_at(run.path), index_cache.DATA, layers, fusion, sigma_px
    )


def split_by_layer(run: Run, sigma_px: float) -> pd.DataFrame:
    """Return `split_by_place` for every layer by itself and all of them summed, fractions."""
    layers = sorted(distances_of(run))
    rows = {}
    for chosen in [(layer,) for layer in layers] + [tuple(layers)]:
        split = split_by_place(run, chosen, "sum", sigma_px)
        if split is not None:
            rows[f"layers {layers_name(chosen)}"] = split.values
    return pd.DataFrame(rows).T


@dataclass(frozen=True)
class Audit:
    """PRO of one set of maps by definition, the curves behind it, and what is missing."""

    metrics: dict[str, float]
    curves: dict[str, pd.DataFrame]
    note: str = ""


def audited(upload: Upload) -> Audit:
    """Return every PRO metric of maps and masks at hand."""
    if not upload.masks.any() or upload.masks.all():
        return Audit(rescoring.pro_by_definition(upload.masks, upload.maps), {})
    curves = {
        "whole category": rescoring.pro_curve(upload.masks, upload.maps),
        "mean of each image's own": rescoring.per_image_curve(upload.masks, upload.maps),
    }
    return Audit(rescoring.pro_by_definition(upload.masks, upload.maps), curves)


def audited_run(run: Run) -> Audit:
    """Return every PRO metric of a run at its own scoring; from its stored curve without masks."""
    if masks_of(run) is not None:
        return _audited_run(run.path, modified_at(run.path), index_cache.DATA)
    own = run.metrics[run.metrics["is_default"]].set_index("metric")["value"].astype(float)
    curves = curves_of(run)
    whole = curves[curves["curve"] == "pro"]
    metrics = {
        "MVTec, limit 0.3": own["aupro"],
        "MVTec, limit 0.05": own["aupro_0.05"],
        "no limit (1.0)": rescoring.area(whole),
        rescoring.PER_IMAGE: own["aupro_per_image"],
    }
    note = (
        "From the stored values and curve. The masks are not on this machine, so the per-image "
        "curve is not drawn."
    )
    return Audit(metrics, {"whole category": whole} if len(whole) else {}, note)


def curves_by_setting(runs: pd.DataFrame, labels: list[str], kind: str) -> dict[str, pd.DataFrame]:
    """Return one kind of curve by setting, its seeds as a band; see `screens.category.band`.

    Args:
        runs: rows of `measured` of one category.
        labels: of the settings.
        kind: of curve.
    """
    modified = modified_at(index_cache.RESULTS / "index.parquet")
    wanted = {label: by_setting(runs)[label] for label in labels}
    return _curves_by_setting(index_cache.RESULTS, modified, str(wanted), kind, wanted)


@st.cache_resource(show_spinner=False, max_entries=8)
def _curves_by_setting(
    results: Path, modified: float, key: str, kind: str, _wanted: dict[str, list[str]]
) -> dict[str, pd.DataFrame]:
    found = {}
    for label, names in _wanted.items():
        curves = [curves_of(run) for run in map(run_named, names) if run is not None]
        points = [one[one["curve"] == kind] for one in curves]
        if points := [one for one in points if len(one)]:
            found[label] = band(points)
    return found


def images_by_category(
    runs: pd.DataFrame | None, dataset: str, names: list[str]
) -> dict[str, pd.DataFrame | None]:
    """Return the test images of the first run of every category of a dataset, None without one.

    Args:
        runs: of all categories, as `measured` returns them.
        dataset: the dataset.
        names: qualified names of all categories of all datasets.
    """
    found: dict[str, pd.DataFrame | None] = {}
    for other, category in map(unqualified, names):
        if other != dataset:
            continue
        mine = pd.DataFrame() if runs is None else of_category(runs, dataset, category)
        run = None if mine.empty else run_named(mine["run_id"].iloc[0])
        found[category] = None if run is None else images_of(run)
    return found


@st.cache_resource(show_spinner=False, max_entries=256)
def _run(path: Path, modified: float) -> Run:
    return read_run(path)


@st.cache_data(show_spinner=False, max_entries=256)
def _images(path: Path, modified: float) -> pd.DataFrame:
    return _run(path, modified).images()


@st.cache_data(show_spinner=False, max_entries=256)
def _curves(path: Path, modified: float) -> pd.DataFrame:
    return _run(path, modified).curves()


@st.cache_resource(show_spinner="Resampling test images", max_entries=256)
def _resampled(path: Path, modified: float) -> Resampled:
    return resample(_run(path, modified))


@st.cache_resource(show_spinner="Reading distance maps", max_entries=3)
def _distances(path: Path, modified: float) -> dict[int, NDArray[np.float32]]:
    return _run(path, modified).distances()


@st.cache_data(show_spinner=False, max_entries=32)
def _picture(path: Path, modified: float, name: str, data: Path) -> NDArray[np.uint8] | None:
    return dataset_images.test_image(_run(path, modified), name, data)


@st.cache_data(show_spinner=False, max_entries=64)
def _pictured(
    path: Path, modified: float, name: str, layers: tuple[int, ...], fusion: str, sigma_px: float
) -> tuple[NDArray[np.float32], float, float] | None:
    run, images = _run(path, modified), _images(path, modified)
    names = list(images["image"])
    if name not in names:
        return None
    distances, size_px = _distances(path, modified), int(run.record["size_px"])
    scoring = replace(rescoring.own_scoring(run), score="max")
    own = {layer: stack for layer, stack in distances.items() if layer != IMAGE}
    if layers and set(layers) <= set(own):
        scoring = replace(scoring, layers=layers, fusion=fusion, sigma_px=sigma_px)
    normal = np.flatnonzero(images["label"].to_numpy() == 0)
    alike = scores({layer: stack[normal] for layer, stack in own.items()}, scoring, size_px)
    wanted = {layer: stack[[names.index(name)]] for layer, stack in own.items()}
    anomaly_map = anomaly_maps(wanted, scoring, size_px)[0]
    if not len(normal):
        return anomaly_map, *common_range([anomaly_map])
    return anomaly_map, *calibrated_range(alike.tolist(), float(alike.max()))


@st.cache_resource(show_spinner=False, max_entries=4)
def _masks(path: Path, modified: float, data: Path) -> NDArray[np.bool_] | None:
    names = list(_images(path, modified)["image"])
    return dataset_images.masks_of(_run(path, modified), names, data)


@st.cache_data(show_spinner=False, max_entries=64)
def _rescored(
    path: Path, modified: float, data: Path, layers: tuple[int, ...], fusion: str, sigma_px: float
) -> rescoring.Rescored:
    run = _run(path, modified)
    return rescoring.rescore(
        _distances(path, modified),
        replace(rescoring.own_scoring(run), layers=layers, fusion=fusion, sigma_px=sigma_px),
        int(run.record["size_px"]),
        _images(path, modified)["label"].to_numpy(),
        _masks(path, modified, data),
    )


# What is kept is what pages print: anomaly maps take up to 45 MB per run, and are made in no time.
@st.cache_data(show_spinner=False, max_entries=64)
def _split_by_place(
    path: Path, modified: float, data: Path, layers: tuple[int, ...], fusion: str, sigma_px: float
) -> Split | None:
    run, masks, images = _run(path, modified), _masks(path, modified, data), _images(path, modified)
    if masks is None:
        return None
    nominal = dataset_images.nominal_place(run, masks, list(images["defect_type"]))
    if nominal is None:
        return None
    of_them = (images["defect_type"] == "misplaced").to_numpy()
    scoring = replace(rescoring.own_scoring(run), layers=layers, fusion=fusion, sigma_px=sigma_px)
    maps = anomaly_maps(_distances(path, modified), scoring, int(run.record["size_px"]))
    known = run.record["dataset"] == dataset_images.GENERATED
    return Split(
        rescoring.split_auroc(maps, masks, nominal, of_them),
        f"{of_them.sum()} images show a misplaced part. Each mask covers the part and the place "
        "that it left empty. The empty place looks like plain background: locally, nothing there "
        "differs from normal images, so only features with a large receptive field can mark it. "
        + (
            "The right place is known, since the part is drawn."
            if known
            else "The right place is estimated: what at least half of these masks cover."
        ),
    )


@st.cache_resource(show_spinner=False, max_entries=2)
def _novelty_images(data: Path, key: str) -> dict[str, NDArray[np.uint8]]:
    try:
        return images_by_name(data, set_named(key))
    except DatasetError:
        return {}  # the page says that they are not here


@st.cache_data(show_spinner="Auditing", max_entries=16)
def _audited_run(path: Path, modified: float, data: Path) -> Audit:
    run = _run(path, modified)
    scoring = rescoring.own_scoring(run)
    maps = anomaly_maps(_distances(path, modified), scoring, int(run.record["size_px"]))
    masks = _masks(path, modified, data)
    assert masks is not None  # the caller looked
    return audited(Upload(maps, masks))
