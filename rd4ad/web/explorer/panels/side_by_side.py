"""The same test image under several settings: what a difference in a table looks like."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from rd4ad.web.explorer import run_cache
from rd4ad.web.explorer.panels import gallery
from rd4ad.web.explorer.screens import ablations

MOST_ROWS, MOST_COLUMNS, PER_ROW = 3, 3, 4


@st.fragment
def show(
    found: pd.DataFrame, down: str, across: str, fixed: Mapping[str, Any], titles: Mapping[str, str]
) -> None:
    """Show one test image under the settings of some cells of a grid.

    Args:
        found: cells of `ablations.cells`.
        down: column that the rows vary.
        across: column that the columns vary.
        fixed: values of settings that are held.
        titles: of the settings.
    """
    st.subheader("The same image under each setting")
    rows = list(dict.fromkeys(found[down].map(ablations.format_value)))
    columns = list(dict.fromkeys(found[across].map(ablations.format_value)))[:MOST_COLUMNS]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.multiselect(
            titles[down],
            rows,
            ablations.telling_rows(rows),
            max_selections=MOST_ROWS,
            key=f"shown_{down}",
            help="Adds or removes a row of pictures.",
        )
        name = _choose_image(found)
    if name is None or not chosen:
        st.info("Choose at least one setting whose run can be read.")
        return
    has_photo = True
    cells = [(row, column) for row in chosen for column in columns]
    for start in range(0, len(cells), PER_ROW):
        for place, (row, column) in zip(
            st.columns(PER_ROW), cells[start : start + PER_ROW], strict=False
        ):
            cell = ablations.cell_at(found, row, column, down, across)
            said = f"{titles[down]} {row} · {titles[across]} {column}"
            picture = None if cell is None else _picture(cell, name, fixed)
            with place:
                if picture is None:
                    st.caption(f"{said}: no run of this image")
                    continue
                has_photo = has_photo and picture.photo is not None
                st.image(
                    gallery.drawn(picture),
                    caption=f"{said}: score {picture.score:.3f}",
                    width="stretch",
                    output_format="JPEG",
                    alt=f"Heatmap of {name}, {said}, score {picture.score:.3f}",
                )
    st.caption(
        "Of several seeds the first. Each heatmap begins at the median score of its run's normal "
        "test images and is full at three times the way to the highest of them. Where masks are "
        "known, they are outlined in green. " + ("" if has_photo else gallery.NO_PHOTOS)
    )


def _choose_image(found: pd.DataFrame) -> str | None:
    run = run_cache.run_named(found["runs"].iloc[0][0])
    if run is None:
        return None
    images = run_cache.images_of(run)
    names = images.sort_values(["label", "image"], ascending=[False, True])["image"].tolist()
    defective = images[images["label"] == 1].sort_values("score")["image"].tolist()
    typical = defective[len(defective) // 2 :]  # the least alarming ones may show nothing at all
    shown_first = next((name for name in names if "misplaced" in name), [*typical, names[0]][0])
    chosen: str = st.selectbox(
        "Test image",
        names,
        index=names.index(shown_first),
        key="image",
        bind="query-params",
        format_func=lambda name: name.removeprefix("test/").removesuffix(".png"),
        help="Shows another test image of the category, defective ones first.",
    )
    return chosen


def _picture(
    cell: Mapping[str, Any], name: str, fixed: Mapping[str, Any]
) -> run_cache.Pictured | None:
    run = run_cache.run_named(cell["runs"][0])
    if run is None:
        return None
    given = {**fixed, **cell}
    return run_cache.pictured(run, name, *ablations.scoring_of(given))
