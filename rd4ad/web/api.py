"""The JSON API below /api/v1: metrics, runs, and a judgment of an uploaded image."""

import math
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from fastapi import APIRouter, File, HTTPException, Query, Response, UploadFile
from fastapi import Path as InPath

from rd4ad.runs.index import read_index
from rd4ad.runs.published import averages, read_published
from rd4ad.runs.store import read_run
from rd4ad.web.explorer.screens.metric_cells import MVTEC, measured_cells, published_cells
from rd4ad.web.explorer.tables import in_order
from rd4ad.web.live import judgments
from rd4ad.web.live.detectors import BusyError, Detectors
from rd4ad.web.live.uploads import MAX_BYTES, RefusedError, read_upload

Metric = Literal["pixel_auroc", "image_auroc", "pro"]
Name = Annotated[str, InPath(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=200)]
_PROBLEMS: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such thing."}}


def router(results: Path, detectors: Detectors, kept: judgments.Kept) -> APIRouter:
    """Return the routes of the API.

    Args:
        results: folder of results.
        detectors: that may be asked for.
        kept: judgments whose files can be fetched.
    """
    api = APIRouter(prefix="/api/v1")
    _add_results(api, results)
    _add_prediction(api, detectors)
    _add_judgments(api, kept)
    return api


def _add_results(api: APIRouter, results: Path) -> None:
    @api.get("/leaderboard")
    def leaderboard(metric: Metric = "pixel_auroc", dataset: str = MVTEC) -> list[dict[str, Any]]:
        """Return every cell of the leaderboard for one metric, fractions in [0, 1]."""
        table = read_published(results)
        cells = [published_cells(table, averages(table))] if dataset == MVTEC else []
        measured = _runs(results)
        if measured is not None:
            cells.append(measured_cells(measured, dataset, [metric]))
        rows = pd.concat(cells, ignore_index=True) if cells else pd.DataFrame({"metric": []})
        return _records(rows[rows["metric"] == metric])

    @api.get("/runs")
    def runs() -> list[dict[str, Any]]:
        """Return one row a stored run: its settings, and its metrics at its own scoring."""
        measured = _runs(results)
        return [] if measured is None else _records(in_order(measured))

    @api.get("/runs/{run_id}", responses=_PROBLEMS)
    def run(run_id: Name) -> dict[str, Any]:
        """Return a run's record and every metric of its grid."""
        path = results / "runs" / run_id
        if not path.is_dir() or path.is_symlink():
            raise HTTPException(404, f"no run {run_id!r}")
        try:
            found = read_run(path)
        except ValueError as error:
            raise HTTPException(404, f"the run {run_id!r} is damaged") from error
        return {"record": found.record, "metrics": _records(found.metrics)}


def _add_prediction(api: APIRouter, detectors: Detectors) -> None:
    @api.get("/detectors")
    def names() -> list[str]:
        """Return the names of the detectors that /predict knows."""
        return list(detectors.files())

    @api.post(
        "/predict",
        responses={
            **_PROBLEMS,
            400: {"description": "The file is refused; the detail says why."},
            413: {"description": f"The body is over {MAX_BYTES // 2**20} MB."},
            503: {"description": "Too many images are waiting, or the detector cannot be used."},
        },
    )
    def predict(
        image: Annotated[
            UploadFile, File(description="PNG, JPEG, WebP, AVIF, BMP, TIFF, GIF, PPM")
        ],
        detector: Annotated[
            str, Query(description="one of /detectors, or that of a job", max_length=200)
        ],
        threshold: Annotated[
            float | None, Query(description="instead of the detector's own", ge=0, le=100)
        ] = None,
        with_map: Annotated[bool, Query(description="add the map as TIFF in base64")] = True,
    ) -> dict[str, Any]:
        """Return score, verdict, regions and anomaly map of an image. Nothing is stored."""
        if detectors.find(detector) is None:
            raise HTTPException(404, f"no detector of that name; there are {names()}")
        try:
            judged = detectors.judge(detector, read_upload(image.file.read(MAX_BYTES + 1)))
        except RefusedError as error:
            raise HTTPException(400, str(error)) from error
        except (BusyError, ValueError, FileNotFoundError) as error:
            raise HTTPException(503, str(error), {"Retry-After": "5"}) from error
        at = judged.starting_threshold() if threshold is None else threshold
        said = judgments.answer(judged, at)
        return judgments.with_map(said, judged) if with_map else said


def _add_judgments(api: APIRouter, kept: judgments.Kept) -> None:
    @api.get("/judgments/{token}/{name}", responses=_PROBLEMS)
    def judgment_file(
        token: Name,
        name: Literal["overlay.png", "map.tiff", "answer.json"],
        threshold: Annotated[float, Query(ge=0, le=100)],
        opacity: Annotated[float, Query(ge=0, le=1)] = 0.75,
    ) -> Response:
        """Return a file of an image that the live demo judged a moment ago."""
        judged = kept.find(token)
        if judged is None:
            raise HTTPException(404, "this judgment is gone: judge the image again")
        content = judgments.download_bytes(judged, name, threshold, opacity)
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=judgments.FILES[name], headers=headers)


def _runs(results: Path) -> pd.DataFrame | None:
    try:
        return read_index(results, is_default=True)
    except (FileNotFoundError, ValueError):
        return None  # no run is measured yet; the explorer's pages say what to do


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table for JSON, which knows no NaN."""
    rows = table.astype(object).to_dict("records")
    return [{str(k): None if _missing(v) else _plain(v) for k, v in row.items()} for row in rows]


def _missing(value: object) -> bool:
    return value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
