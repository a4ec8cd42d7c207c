"""What a visitor or a program gets to see of a job, and the files that can be taken along."""

from pathlib import Path
from typing import Any

from rd4ad.teach import standalone
from rd4ad.teach.jobs.classroom import Classroom
from rd4ad.teach.jobs.folder import Job

MEDIA_TYPES = {
    "detector.safetensors": "application/octet-stream",
    "detector.onnx": "application/octet-stream",
    "judge.py": "text/x-python",
    "report.html": "text/html",
    "lesson.json": "application/json",
    "mean.jpg": "image/jpeg",
    "spread.jpg": "image/jpeg",
    "student.jpg": "image/jpeg",
    **{f"{kind}-{i}.jpg": "image/jpeg" for kind in ("least", "found", "missed") for i in range(3)},
}
"""Files of a job that can be fetched, and their media types."""


def described(room: Classroom, job: Job) -> dict[str, Any]:
    """Return a job for JSON."""
    state = job.state()
    photos = [
        {"name": one["name"], "size": one["size"], "is_left_out": one["is_left_out"]}
        for one in state["photos"]
    ]
    return {
        "token": job.token,
        "detector": f"taught:{job.token}",
        "expires": room.expires(state),
        "photos": photos,
        "lesson": state["lesson"] | {"place": room.place(job, "lesson")},
        "student": state["student"] | {"place": room.place(job, "student")},
        "progress": job.read_json("progress.json"),
        "result": job.read_json("lesson.json"),
        "files": [name for name in MEDIA_TYPES if _is_there(job, name)],
    }


def _is_there(job: Job, name: str) -> bool:
    if name in ("detector.safetensors", "detector.onnx", "judge.py"):
        return job.detector() is not None
    return (job.folder / name).is_file()


def file_bytes(job: Job, name: str) -> bytes | None:
    """Return a file of `MEDIA_TYPES`; None where it is not there."""
    if name not in MEDIA_TYPES or not _is_there(job, name):
        return None
    if name == "judge.py":
        return Path(standalone.__file__).read_bytes()
    path = job.detector() if name.startswith("detector.") else job.folder / name
    assert path is not None
    if name == "detector.onnx":
        path = _exported(path)
    return path.read_bytes()


def _exported(checkpoint: Path) -> Path:
    """Return the checkpoint's ONNX model, written when it is first asked for."""
    from rd4ad.export.onnx_file import export_onnx

    out = checkpoint.with_suffix(".onnx")
    if not out.exists() or out.stat().st_mtime < checkpoint.stat().st_mtime:
        export_onnx(checkpoint, out)
    return out
