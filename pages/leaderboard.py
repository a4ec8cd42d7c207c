"""Leaderboard: what papers report, what was measured here, category by category."""

import pandas as pd
import streamlit as st

from rd4ad.web.explorer import certainty, downloads, frame, index_cache, run_cache, tables, widgets
from rd4ad.web.explorer.screens import leaderboard
from rd4ad.web.explorer.style import KIND_NAMES

units = frame.open_page(
    "Leaderboard",
    "Which method finds defects best, and on which category? Values that papers report and values "
    "that this code reproduced are marked and never averaged together.",
)
runs = index_cache.measured()
datasets = [leaderboard.MVTEC]
if runs is not None:
    datasets += sorted(set(runs["dataset"]) - {leaderboard.MVTEC})

first, second, third, fourth = st.columns([4, 11, 5, 8], vertical_alignment="top")
with first:
    dataset = widgets.choose(
        "Dataset",
        datasets,
        "dataset",
        "Shows another dataset. Papers report MVTec AD; this project also measured the others.",
    )
is_mvtec = dataset == leaderboard.MVTEC
with second:
    metric = widgets.pick(
        "Metric",
        leaderboard.METRICS,
        "metric",
        "Changes every value in the table. Image AUROC ranks images; pixel AUROC ranks all pixels "
        "of a category; PRO weighs every defect region the same and has several definitions, "
        "named in each column.",
    )
cells = [] if runs is None else [index_cache.cells_of(dataset, metric)]
cells = pd.concat([index_cache.published(), *cells] if is_mvtec else cells, ignore_index=True)
cells = cells[cells["metric"] == metric]
with third:
    sizes = st.multiselect(
        "Image size, px",
        leaderboard.sizes_of(cells),
        key="size",
        bind="query-params",
        placeholder="all",
        help="Keeps only columns measured at these sizes: the side of the square images. Many "
        "later sources do not state it.",
    )
with fourth:
    sources = widgets.choose_sources(
        leaderboard.SOURCES if is_mvtec else (leaderboard.OURS,),
        (leaderboard.PAPER, leaderboard.OURS) if is_mvtec else (leaderboard.OURS,),
    )
with st.expander("More filters: methods, settings, definitions, tint"):
    methods = widgets.multiselect(
        "Methods", cells["method"], "method", "Keeps only these methods; none chosen keeps all."
    )
    settings = widgets.multiselect(
        "Setting",
        cells["setting"],
        "setting",
        "Keeps only these settings, e.g. one model per category.",
    )
    definitions = widgets.multiselect(
        "Definition",
        cells["definition"],
        "definition",
        "Keeps only values by these definitions of the metric.",
    )
    heat = st.toggle(
        "Tint each row",
        value=True,
        key="heat",
        bind="query-params",
        help="Tints the cells of a row from its lowest to its highest value.",
    )

shown = leaderboard.choose(
    cells,
    metric,
    sources=sources,
    sizes=sizes,
    methods=methods,
    definitions=definitions,
    settings=settings,
)
if shown.empty:
    st.info("No value matches these filters: remove one of them.")
    st.stop()

everything = leaderboard.wide(shown)
table = leaderboard.narrowed(everything)
if len(table.columns) < len(everything.columns):
    st.info(
        f"The best {len(table.columns)} of {len(everything.columns)} columns by mean are shown: "
        "filter by method, size or setting to see others."
    )
best = leaderboard.best(table, leaderboard.definitions_of(shown))
card = st.container()
clicked = widgets.table_with_cells(
    tables.styled(table, best, units.text, heat=heat),
    table,
    alt=f"{leaderboard.METRICS[metric]} in {units.name}, categories by methods",
)
st.caption(
    f"{leaderboard.METRICS[metric]}, {units.name}. "
    + " · ".join(KIND_NAMES.values())
    + f". {tables.MARK} and bold: best of its row at the printed precision. "
    "Averages are computed here, and only where every category has a value. "
    "Click a value to see its source."
)
for sentence in leaderboard.disagreements(shown):
    st.warning(sentence, icon=":material/rule:")

if clicked is not None:
    row, column = clicked
    cell = leaderboard.cell_at(shown, row, column)
    with card:
        if cell is None:
            st.info(f"{column} has no value for {leaderboard.row_name(row)}.")
        else:
            title = f"{column} · {leaderboard.row_name(row)}"
            widgets.show_card(title, tables.card(cell, units.text))
            for run in filter(None, map(run_cache.run_named, cell["runs"])):
                metric = certainty.metric_card(run, cell, units.text)
                title = f"Run {run.record['run_id']}"
                widgets.show_card(
                    title,
                    metric | tables.run_card(run, index_cache.on_the_hub(run.record["run_id"])),
                    tables.commands(run),
                )

left, right = st.columns(2)
with left.expander("Compare two columns", expanded="first" in st.query_params):
    names = list(table.columns)
    one = widgets.choose(
        "First",
        names,
        "first",
        "Sets the column that the second one is subtracted from.",
        default="○ RD4AD 256",
    )
    other = widgets.choose(
        "Second", names, "second", "Sets the column that is subtracted.", default="○ PaDiM 256"
    )
    compared = leaderboard.delta(table, one, other)
    differences = run_cache.certainty_of(shown, one, other)
    st.markdown(leaderboard.outcome(compared, one, other))
    st.markdown(certainty.verdict(differences))
    st.dataframe(
        tables.styled_delta(compared, units.text, differences),
        width="stretch",
        placeholder="–",
        alt=f"{one} minus {other} by category",
    )
with right.expander("Export this table"):
    widgets.show_exports(table, best, units, f"leaderboard-{metric}")
    st.code(downloads.BIBTEX, language="latex")
