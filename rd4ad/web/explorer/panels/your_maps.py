"""Compare yours: a visitor's ZIP file beside a stored run, one at a time, and its worst images."""

from threading import Lock

import numpy as np
import streamlit as st

from rd4ad.data.folders import DatasetError
from rd4ad.evaluation.beside_run import beside
from rd4ad.evaluation.map_files import MapArchive, resized
from rd4ad.inference.overlay import common_range
from rd4ad.runs.run import Run
from rd4ad.web.explorer import run_cache
from rd4ad.web.explorer.panels import gallery
from rd4ad.web.explorer.screens.compare import Shelf, Shelved, worst

WAITING_SECONDS = 60.0
N_WORST = 6
_TURN = Lock()  # a comparison takes some 300 MB while it is computed


@st.cache_resource(show_spinner=False)
def shelf() -> Shelf:
    """Return the server's one shelf of comparisons."""
    return Shelf()


def put(content: bytes, run: Run, name: str) -> str:
    """Compare the maps in a ZIP file with a run, shelve the outcome and return its token.

    Args:
        content: of the ZIP file; with the masks, where they are not at hand here.
        run: on whose test images.
        name: of the maps.

    Raises:
        DatasetError: what is wrong with the file; or too many comparisons wait.
        ValueError: a file of the run is damaged; the message names it.
    """
    if not _TURN.acquire(timeout=WAITING_SECONDS):
        raise DatasetError("Too many comparisons are waiting: try again in a minute.")
    try:
        archive = MapArchive.open(content)
        names = [str(one) for one in run_cache.images_of(run)["image"]]
        masks = run_cache.masks_of(run)
        if masks is None:
            masks = archive.read_masks(names, int(run.record["size_px"]))
        return shelf().put(beside(run, archive.read_maps(names), masks), name)
    finally:
        _TURN.release()


def show_worst(run: Run, kept: Shelved, theirs: str) -> None:
    """Show the images that the maps rank worst, and what the run says of them.

    Args:
        run: that the maps were compared with.
        kept: the comparison.
        theirs: what the run is called.
    """
    found = kept.found
    chosen = worst(found, N_WORST)
    if chosen.empty:
        st.success("Every defect scores above every normal image.")
        return
    names = list(found.images["image"])
    places = [names.index(name) for name in chosen["image"]]
    mine = [resized(one.astype(np.float32), found.size_px) for one in found.maps[places]]
    its = list(gallery.default_maps(run, places))
    masks = run_cache.masks_of(run)
    columns = st.columns(2)
    for n, row in enumerate(chosen.to_dict("records")):
        other = "normal images score as high" if row["label"] else "defects score as low"
        said = {who: f"{row[who]} of {row['others']}" for who in ("wrong", "wrong_run")}
        kind = row["defect_type"].replace("_", " ")
        with columns[n % 2].container(border=True):
            st.markdown(f"**{row['image'].removeprefix('test/')}** ({kind})")
            photo = run_cache.test_image(run, row["image"])
            mask = None if masks is None else masks[places[n]]
            for place, maps, who, caption in zip(
                st.columns(2, wrap=False), (mine, its), (kept.name, theirs),
                (f"{said['wrong']} {other}", said["wrong_run"]), strict=True,
            ):  # fmt: skip
                low, high = common_range(maps)
                drawn = gallery.drawn(run_cache.Pictured(maps[n], low, high, 0.0, photo, mask))
                place.image(drawn, width="stretch", caption=f"{who}: {caption}",
                            alt=f"{row['image']}: the map of {who}")  # fmt: skip
    st.caption("Each side's colors run over its own maps of these images.")
