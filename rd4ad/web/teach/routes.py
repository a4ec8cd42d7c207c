"""Teach for programs: below /api/v1/teach."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, File, HTTPException, Query, Request, Response, UploadFile
from fastapi import Path as InPath

from rd4ad.teach.jobs.classroom import Classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import QuotaError
from rd4ad.web.limits import MAX_PHOTOS_BYTES
from rd4ad.web.teach.job_files import MEDIA_TYPES, described, file_bytes
from rd4ad.web.teach.uploads import MAX_ZIP_BYTES, receive

Token = Annotated[str, InPath(pattern=r"^[0-9a-f]{32}$")]
_PROBLEMS: dict[int | str, dict[str, Any]] = {404: {"description": "There is no such job."}}


def router(room: Callable[[], Classroom], client_of: Callable[[Request], str]) -> APIRouter:
    """Return the routes.

    Args:
        room: gives the server's classroom.
        client_of: gives the address that a request came from.
    """
    api = APIRouter(prefix="/api/v1/teach", tags=["teach"])
    _add_jobs(api, room, client_of)
    _add_work(api, room)
    return api


def _add_jobs(
    api: APIRouter, room: Callable[[], Classroom], client_of: Callable[[Request], str]
) -> None:
    @api.post(
        "",
        status_code=201,
        responses={
            400: {"description": "No photo could be read, or too few; the detail says why."},
            413: {"description": f"The body is over {MAX_PHOTOS_BYTES // 2**20} MB."},
            503: {"description": "There are too many jobs, or teaching is off."},
        },
    )
    def teach(
        request: Request,
        photos: Annotated[list[UploadFile], File(description="of good parts, or ZIP files")],
        false_alarms: Annotated[
            float, Query(description="accepted share of good parts called defective", gt=0, le=0.5)
        ] = 0.01,
        name: Annotated[str, Query(description="of the part", pattern=r"^[\w .-]{1,40}$")] = "part",
    ) -> dict[str, Any]:
        """Teach a detector from photos of good parts; the answer's token finds it again.

        Whoever has the token may see, use and delete the job; it is deleted some hours after its
        last change.
        """
        try:
            job = room().open(client_of(request), false_alarms)
        except QuotaError as error:
            raise HTTPException(503, str(error), {"Retry-After": "600"}) from error
        job.change(lambda state: state.update(name=name))
        files = ((one.filename or "photo", one.file.read(MAX_ZIP_BYTES + 1)) for one in photos)
        received = receive(room(), job, files)
        try:
            room().learn(job)
        except QuotaError as error:
            room().delete(job)
            raise HTTPException(400, " ".join([str(error), *received.problems[:5]])) from error
        return described(room(), job) | {"problems": received.problems}

    @api.get("/{token}", responses=_PROBLEMS)
    def state(token: Token) -> dict[str, Any]:
        """Return where a job stands, what is known of its detector, and its files."""
        return described(room(), _found(room(), token))

    @api.delete("/{token}", status_code=204, responses=_PROBLEMS)
    def delete(token: Token) -> None:
        """Delete a job: photos, detectors, pictures, report."""
        room().delete(_found(room(), token))

    @api.get("/{token}/files/{name}", responses=_PROBLEMS)
    def file(token: Token, name: str) -> Response:
        """Return a file of a job."""
        job = _found(room(), token)
        content = file_bytes(job, name)
        if content is None:
            raise HTTPException(404, f"there is no {name!r}, or not yet")
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=MEDIA_TYPES[name], headers=headers)


def _add_work(api: APIRouter, room: Callable[[], Classroom]) -> None:
    @api.post(
        "/{token}/training",
        status_code=202,
        responses={**_PROBLEMS, 400: {"description": "It cannot be; the detail says why."}},
    )
    def train(
        token: Token,
        minutes: Annotated[float, Query(description="at most", gt=0)] = 3,
    ) -> dict[str, Any]:
        """Train reverse distillation on the photos too; the better detector is then kept."""
        job = _found(room(), token)
        try:
            room().train(job, minutes)
        except QuotaError as error:
            raise HTTPException(400, str(error)) from error
        return described(room(), job)

    @api.delete("/{token}/training", status_code=202, responses=_PROBLEMS)
    def stop(token: Token) -> dict[str, Any]:
        """End the training with its present epoch; what it has learned is kept."""
        job = _found(room(), token)
        room().stop(job)
        return described(room(), job)


def _found(room: Classroom, token: str) -> Job:
    job = room.find(token)
    if job is None:
        raise HTTPException(404, "There is no such job, or it was deleted when its time was over.")
    return job
