"""Widgets and panels that several pages share; all bound to the URL, so a view is a permalink."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from rd4ad.web.explorer import downloads
from rd4ad.web.explorer.run_text import run_title
from rd4ad.web.explorer.screens import ablations
from rd4ad.web.explorer.screens.metric_cells import MVTEC, categories, qualified, unqualified
from rd4ad.web.explorer.tables import METRIC_NAMES, of_category
from rd4ad.web.explorer.units import Units, difference


def is_phone() -> bool:
    """Return whether the browser calls itself one of a phone."""
    return "Mobi" in st.context.headers.get("User-Agent", "")


def show(chart: Figure, alt: str, key: str) -> None:
    """Show a chart with its text alternative; it can be kept as SVG, its data as CSV."""
    config = {
        "displaylogo": False,
        "toImageButtonOptions": {"format": "svg", "filename": key},
        "modeBarButtons": [["toImage", "resetScale2d"]],
    }
    st.plotly_chart(chart, width="stretch", key=key, alt=alt, config=config)
    offer_data(chart, key)


def offer_data(chart: Figure, key: str) -> None:
    """Offer what a chart draws as CSV."""
    st.download_button(
        "CSV",
        partial(downloads.chart_csv, chart),
        file_name=f"{key}.csv",
        mime="text/csv",
        key=f"data-{key}",
        on_click="ignore",
        type="tertiary",
        icon=":material/download:",
        help="Downloads the chart's data. The camera above a chart keeps it as SVG.",
    )


def empty(sentence: str, command: str) -> None:
    """Say that there is nothing to show yet, and which command changes that."""
    st.info(sentence)
    st.code(command, language="bash", wrap_lines=True)


MOST_LETTERS, WIDE_PX = 24, 190
"""Longer names of columns are cut at this width; their help gives the rest."""


def controls(key: str = "page") -> Any:
    """Return a container of controls: one row, which breaks where the page is narrow."""
    return st.container(
        horizontal=True, vertical_alignment="bottom", gap="medium", key=f"controls-{key}"
    )


def show_links(links: Mapping[str, tuple[str, dict[str, str]]], kept: Mapping[str, str]) -> None:
    """Show links to other pages in a row.

    Args:
        links: file and query of the page by what the link says.
        kept: query that every link takes along.
    """
    with st.container(horizontal=True):
        for said, (page, query) in links.items():
            st.page_link(
                page, label=said, icon=":material/arrow_forward:", query_params=query | dict(kept)
            )


def choose(label: str, options: list[str], key: str, help: str, default: str = "") -> str:
    """Return the option chosen in a select box bound to the URL."""
    index = options.index(default) if default in options else 0
    chosen: str = st.selectbox(label, options, index=index, key=key, help=help, bind="query-params")
    return chosen


def pick(label: str, options: Mapping[str, str], key: str, help: str) -> str:
    """Return the key of the option chosen among a few, shown by its name; the first by default."""
    chosen: str = st.segmented_control(
        label,
        list(options),
        default=next(iter(options)),
        required=True,
        format_func=options.__getitem__,
        key=key,
        help=help,
        bind="query-params",
        wrap=True,
    )
    return chosen


def choose_named(
    label: str, options: Mapping[str, str], key: str, help: str, default: str = ""
) -> str:
    """Return the key of the option chosen in a select box that shows their names."""
    keys = list(options)
    chosen: str = st.selectbox(
        label,
        keys,
        index=keys.index(default) if default in options else 0,
        format_func=options.__getitem__,
        key=key,
        help=help,
        bind="query-params",
    )
    return chosen


def choose_category(runs: pd.DataFrame, help: str, first: str = "") -> str:
    """Return the qualified name of the category chosen among those measured.

    At first it is that of the run that the address names, else `first`, else MVTec AD's transistor.
    """
    of_link = runs[runs["run_id"] == st.query_params.get("run", "")]
    named = [qualified(*pair) for pair in zip(of_link["dataset"], of_link["category"], strict=True)]
    default = named[0] if named else first or qualified(MVTEC, "transistor")
    return choose("Category", categories(runs, ()), "category", help, default)


def choose_metric(rows: pd.DataFrame, help: str) -> str:
    """Return the measured metric that was chosen, pixel AUROC first."""
    found = {name: title for name, title in METRIC_NAMES.items() if rows[name].notna().any()}
    return choose_named("Metric", found, "figure", help, "pixel_auroc")


def choose_fixed_settings(
    rows: pd.DataFrame, settings: Mapping[str, str], varied: Sequence[str]
) -> dict[str, object]:
    """Return the values that were fixed of settings with more than one value among `rows`.

    At first nothing is averaged that does not belong together: see `ablations.default_settings`.

    Args:
        rows: as `rd4ad.web.explorer.tables.readable` returns them.
        settings: titles by column.
        varied: the other columns.
    """
    open_ones = {name: sorted(rows[name].dropna().unique().tolist()) for name in settings}
    open_ones = {name: values for name, values in open_ones.items() if len(values) > 1}
    if not open_ones:
        st.caption("Every other setting has a single value.")
        return {}
    default = ablations.default_settings(rows, list(open_ones), varied)
    fixed = {}
    with st.container(horizontal=True, key="chips"):
        for name, values in open_ones.items():
            texts = {ablations.format_value(value): value for value in values}
            key = fixed_key(name, varied)
            own = ablations.format_value(default[name]) if name in default else ""
            at_first = own if own in texts else EVERY
            held = st.session_state.get(key, st.query_params.get(key, at_first))
            title = settings[name].removesuffix(", px").removesuffix(" configuration")
            shown = "mean" if held == EVERY else held  # seven of them fit a row
            with st.popover(f"{title}: {shown}", width="content"):
                kept = choose(
                    settings[name],
                    [EVERY, *texts],
                    key,
                    "Keeps only the runs with this value, or averages over all values.",
                    at_first,
                )
            if kept in texts:
                fixed[name] = texts[kept]
    return fixed


EVERY = "mean over all"
"""Choice of a setting that is not held at one value."""


def fixed_key(name: str, varied: Sequence[str]) -> str:
    """Return the URL key of the value that a setting is fixed at.

    A setting of the training is fixed again when other settings vary: other runs have them.

    >>> fixed_key("fusion", ["layers", "epochs"]), fixed_key("variant", ["layers", "epochs"])
    ('hold_fusion', 'hold_variant_layers_epochs')
    """
    return "_".join(["hold", name, *(varied if name in ablations.TRAINED_WITH else ())])


def choose_sources(sources: Sequence[str], default: Sequence[str]) -> list[str]:
    """Return whose metrics are shown: a choice of `metric_cells.SOURCES`."""
    chosen: list[str] = st.pills(
        "Source",
        sources,
        selection_mode="multi",
        default=default,
        key="by",
        bind="query-params",
        wrap=True,
        help="Keeps only values from these sources: the RD4AD paper, runs of this project, other "
        "papers, runs by third parties.",
    )
    return chosen


def multiselect(label: str, values: Iterable[str], key: str, help: str) -> list[str]:
    """Return those chosen among the distinct non-empty `values`; none chosen means all."""
    options = list(dict.fromkeys(value for value in values if value))
    chosen: list[str] = st.multiselect(
        label, options, key=key, help=help, bind="query-params", placeholder="all"
    )
    return chosen


def choose_run(runs: pd.DataFrame, help: str, first: str = "") -> str:
    """Return the id of the run chosen, its category first where there are several.

    Args:
        runs: as `rd4ad.web.explorer.index_cache.measured` returns them.
        help: what the choice is for.
        first: category to begin with; see `choose_category`.
    """
    if len(runs.drop_duplicates(["dataset", "category"])) > 1:
        where = choose_category(runs, "Lists the runs of another category.", first)
        runs = of_category(runs, *unqualified(where))
    names = {row["run_id"]: run_title(row) for row in runs.to_dict("records")}
    asked = st.query_params.get("run", "")
    if asked and asked not in names:
        st.query_params.pop("run")  # of another category, or gone
    chosen: str = st.selectbox(
        "Run", list(names), index=list(names).index(asked) if asked in names else 0,
        format_func=names.__getitem__, key="chosen_run", help=help, on_change=_remember_run,
    )  # fmt: skip
    return chosen


def _remember_run() -> None:
    """Keep the run's id in the URL: bound to it, the widget would keep the title, which changes."""
    st.query_params["run"] = st.session_state["chosen_run"]


def choose_settings(settings: Sequence[str], default: Sequence[str]) -> list[str]:
    """Return the settings chosen among those of a category."""
    chosen: list[str] = st.multiselect(
        "Settings",
        settings,
        default,
        key="settings",
        bind="query-params",
        max_selections=8,
        help="Draws the curves of these settings, their seeds as one line with a band.",
    )
    return chosen


def show_metrics(values: Mapping[str, float], usual: Mapping[str, float], units: Units) -> None:
    """Show metrics as numbers, each with its difference from the usual one.

    Args:
        values: fraction by metric.
        usual: their values at the run's stored scoring configuration.
        units: to print them in.
    """
    shown = ("image_auroc", "pixel_auroc", "aupro", "aupro_per_image")
    for column, name in zip(st.columns(len(shown)), shown, strict=True):
        column.metric(
            METRIC_NAMES[name],
            units.text(values[name]),
            difference(values[name], usual.get(name), units),
            help="The small number is the difference from the run's stored scoring configuration.",
        )


def table_with_cells(
    style: Any,
    table: pd.DataFrame,
    alt: str,
    head: str = "Category",
    at: str = "at",
    has_rows: bool = False,
) -> tuple[str, str] | None:
    """Show a styled table and return (row, column) of the cell that was clicked, if any.

    The cell is kept in the URL, so a link opens its card too.

    Args:
        style: what is shown.
        table: with the same names of rows and columns, which are text.
        alt: what the table is, in words.
        head: of the column of the rows' names.
        at: name of the cell in the URL; one a table of the page.
        has_rows: whether a row can be chosen too; see `chosen_row`.
    """
    long = [name for name in table.columns if len(name) > MOST_LETTERS]
    names_px = min(max(110, 8 * max(len(name) for name in [head, *table.index])), WIDE_PX)
    st.dataframe(
        style,
        width="stretch",
        height=35 * (len(table) + 1) + 3,
        column_config={"_index": st.column_config.TextColumn(head, width=names_px, pinned=True)}
        | {name: st.column_config.Column(width=WIDE_PX, help=name) for name in long},
        on_select=partial(_remember_cell, list(table.index), at),
        selection_mode=["single-cell", "single-row"] if has_rows else "single-cell",
        key=f"cells-{at}",
        placeholder="–",
        alt=alt,
    )
    row, _, column = st.query_params.get(at, "").partition("|")
    return (row, column) if row in table.index and column in table.columns else None


def chosen_row(table: pd.DataFrame, at: str = "at") -> str | None:
    """Return the name of the row chosen in a table of `table_with_cells`; None without one."""
    rows = st.session_state[f"cells-{at}"].selection.rows
    return str(table.index[rows[0]]) if rows else None


def _remember_cell(rows: list[str], at: str) -> None:
    cells = st.session_state[f"cells-{at}"].selection.cells
    if cells:
        st.query_params[at] = f"{rows[cells[0][0]]}|{cells[0][1]}"
    else:
        st.query_params.pop(at, None)


def show_card(title: str, said: Mapping[str, str], commands: str = "") -> None:
    """Show what is known of one metric or run, and the commands that measure it again."""
    with st.container(border=True):
        st.markdown(f"**{title}**")
        rows = pd.DataFrame({"what": said.keys(), "is": said.values()})
        st.dataframe(
            rows,
            hide_index=True,
            width="stretch",
            height=35 * len(rows) + 38,
            placeholder="–",
            alt=title,
        )
        if commands:
            st.caption("Commands that reproduce it")
            st.code(commands, language="bash", wrap_lines=True)


def show_exports(table: pd.DataFrame, best: pd.DataFrame, units: Units, name: str) -> None:
    """Offer what is shown as CSV, Parquet, Markdown and LaTeX, in the chosen units."""
    scaled = table * units.factor
    files = {
        "CSV": (downloads.csv(scaled.round(units.digits + 2)), "csv", "text/csv"),
        "Parquet": (downloads.parquet(scaled), "parquet", "application/octet-stream"),
        "Markdown": (downloads.markdown(table, best, units.text), "md", "text/markdown"),
        "LaTeX": (downloads.latex(table, best, units.text), "tex", "text/x-tex"),
    }
    for column, (label, (content, suffix, mime)) in zip(
        st.columns(len(files)), files.items(), strict=True
    ):
        column.download_button(
            label,
            content,
            file_name=f"{name}.{suffix}",
            mime=mime,
            key=f"export-{suffix}",
            on_click="ignore",
            width="stretch",
            help=f"Downloads the table above, in {units.name}.",
        )
