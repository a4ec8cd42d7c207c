"""Which job a visitor's page is about: its token stands in the address, so a link leads back."""

import re
from datetime import datetime
from typing import Any

import streamlit as st

from rd4ad.teach.jobs.classroom import Classroom, server_classroom
from rd4ad.teach.jobs.folder import Job
from rd4ad.teach.jobs.quota import QuotaError
from rd4ad.web.limits import Limits, client_address

_TOKEN = "job"
_MARKS = re.compile(r"([\\`*_{}\[\]()#+!|~<>$:])")


def open_room() -> Classroom:
    """Return the server's classroom; where teaching is off the page says so and ends."""
    room = server_classroom()
    if not room.quota.is_on:
        st.info("Teaching is switched off on this server. On your own machine:")
        st.code(
            "rd4ad teach FOLDER_OF_GOOD_PHOTOS --out part.safetensors",
            language="bash",
            wrap_lines=True,
        )
        st.stop()
    return room


def current(room: Classroom) -> Job | None:
    """Return the job that the address names; a word about one that is gone."""
    token = st.query_params.get(_TOKEN)
    job = room.find(token) if token else None
    if token and job is None:
        st.query_params.pop(_TOKEN)
        st.info("This job is gone: it was deleted, or its time was over. Start again below.")
    return job


def new_job(room: Classroom, rate: float, name: str) -> Job | None:
    """Return a new job; None, with a word, where there is no room."""
    try:
        job = room.open(_client(), rate)
    except QuotaError as error:
        st.error(str(error), icon=":material/error:")
        return None
    job.change(lambda state: state.update(name=name))
    return job


def enter(job: Job) -> None:
    """Put a job into the address."""
    st.query_params[_TOKEN] = job.token


def still_waiting(job: Job, part: str) -> dict[str, Any]:
    """Return where "lesson" or "student" of a job stands; run the page again if it has ended."""
    state: dict[str, Any] = job.state()[part] if job.exists else {"state": "none"}
    if state["state"] not in ("queued", "working"):
        st.rerun()
    return state


def leave() -> None:
    """Take the job out of the address."""
    st.query_params.pop(_TOKEN, None)


def _client() -> str:
    sent = st.context.headers.get("X-Forwarded-For", "")
    scope = {
        "client": (st.context.ip_address or "", 0),
        "headers": [(b"x-forwarded-for", sent.encode("latin-1", "ignore"))],
    }
    return client_address(scope, Limits.from_environment())


def tell(messages: list[str]) -> None:
    """Keep messages for the next run of the page, which shows them once."""
    st.session_state["teach_messages"] = messages


def show_told() -> None:
    """Show what `tell` kept."""
    for message in st.session_state.pop("teach_messages", [])[:8]:
        st.warning(plain(message), icon=":material/image_not_supported:")


def plain(name: str) -> str:
    r"""Return a visitor's word so that Markdown shows it as it is.

    >>> print(plain("![a](http://b)_1.png"))
    \!\[a\]\(http\://b\)\_1.png
    """
    return _MARKS.sub(r"\\\1", name)


def clock(seconds: float) -> str:
    """Return a time of day of the server, with its time zone."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%H:%M %Z")
