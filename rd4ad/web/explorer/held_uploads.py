"""Uploads to the explorer, which Streamlit keeps in memory for as long as a page is open."""

from collections.abc import Iterable

from streamlit.runtime import exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile


def held_mib() -> float:
    """Return what the files of all open pages take."""
    if not exists():
        return 0.0
    families = get_instance().uploaded_file_mgr.get_stats().values()
    return sum(stat.byte_length for stats in families for stat in stats) / 2**20


def forget(files: Iterable[UploadedFile]) -> None:
    """Free the memory of files that were read and are not asked for again."""
    context = get_script_run_ctx()
    if context is None or not exists():
        return
    for file in files:
        get_instance().uploaded_file_mgr.remove_file(context.session_id, file.file_id)
