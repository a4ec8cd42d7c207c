"""Leaderboard: what papers report, what was measured here, category by category."""

import pandas as pd
import streamlit as st

from rd4ad.web.explorer import frame, index_cache, run_cache, run_text, tables, widgets
from rd4ad.web.explorer.screens import certainty, leaderboard, metric_cells, reproduction
from rd4ad.web.explorer.style import KIND_NAMES

VIEWS = {"all": "all methods", "pairs": "reported against reproduced"}
units = frame.open_page(
    "Leaderboard",
    "Which method finds defects best, and on which category? Values that papers report and values "
    "that this code reproduced are marked and never averaged together.",
    terms=("auroc", "pro"),
)
runs = index_cache.measured()
datasets = [metric_cells.MVTEC]
if runs is not None:
    datasets += sorted(set(runs["dataset"]) - {metric_cells.MVTEC})

with widgets.controls():
    dataset = widgets.choose(
        "Dataset",
        datasets,
        "dataset",
        "Shows another dataset. Papers report MVTec AD; this project also measured the others.",
    )
    metric = widgets.pick(
        "Metric",
        metric_cells.METRICS,
        "metric",
        "Changes every value in the table. Image AUROC ranks images; pixel AUROC ranks all pixels "
        "of a category; PRO weighs every defect region the same and has several definitions, "
        "named in each column.",
    )
    is_mvtec = dataset == metric_cells.MVTEC
    view = "all"
    if is_mvtec and runs is not None:
        view = widgets.pick(
            "Show",
            VIEWS,
            "view",
            "All methods, one column each; or, for every value measured here, what the paper "
            "reports of the same method.",
        )
cells = [] if runs is None else [index_cache.cells_of(dataset, metric)]
cells = pd.concat([index_cache.published(), *cells] if is_mvtec else cells, ignore_index=True)
cells = cells[cells["metric"] == metric]
offered = [
    name
    for name in metric_cells.sources_of(runs)
    if is_mvtec or name in (metric_cells.OURS, metric_cells.EXTERNAL)
]
with st.expander("Filters: sources, sizes, methods, settings, definitions"):
    sources = widgets.choose_sources(
        offered, [name for name in offered if name in metric_cells.SHOWN_AT_FIRST]
    )
    left, right = st.columns(2)
    with left:
        sizes = st.multiselect(
            "Image size, px",
            metric_cells.sizes_of(cells),
            key="size",
            bind="query-params",
            placeholder="all",
            help="Keeps only columns measured at these sizes: the side of the square images. Many "
            "later sources do not state it.",
        )
        methods = widgets.multiselect(
            "Methods", cells["method"], "method", "Keeps only these methods; none chosen keeps all."
        )
        heat = st.toggle(
            "Tint each row",
            value=True,
            key="heat",
            bind="query-params",
            help="Tints the cells of a row from its lowest to its highest value.",
        )
    with right:
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
        every = st.toggle(
            "Every setting measured here",
            value=leaderboard.asks_for_every_setting(cells, st.query_params.to_dict()),
            key="every",
            help="Otherwise there is one column for each method, backbone and size of this "
            "project: the setting that was measured on most categories.",
        )

shown = metric_cells.choose(
    cells,
    metric,
    sources=sources,
    sizes=sizes,
    methods=methods,
    definitions=definitions,
    settings=settings,
)
if not (every or settings):
    shown = metric_cells.main_settings(shown)
if left_out := leaderboard.sources_left_out(cells, settings, sources):
    st.caption(
        "These settings also occur in sources that are not chosen above: "
        + ", ".join(left_out)
        + "."
    )
if shown.empty:
    st.info("No value matches these filters: remove one of them.")
    st.stop()

if view == "pairs":
    pairs = reproduction.pairs(shown)
    if pairs.empty:
        st.info("No measured method has a value in the paper with these filters.")
        st.stop()
    st.dataframe(
        tables.styled_pairs(pairs, units.text),
        width="stretch",
        height=35 * (len(pairs) + 1) + 3,
        hide_index=True,
        column_config={
            "Method": st.column_config.TextColumn(pinned=True),
            "Images": st.column_config.LinkColumn(display_text="open"),
        },
        placeholder="–",
        alt=f"{metric_cells.METRICS[metric]} as reported and as reproduced, {units.name}",
    )
    st.caption(
        f"{metric_cells.METRICS[metric]}, {units.name}. Difference: reproduced minus reported; "
        "blue is higher here, orange is lower. Where the backbones differ, it includes the "
        "difference between backbones. ±: standard deviation over seeds."
    )
    st.stop()

everything = leaderboard.wide(shown)
table = leaderboard.narrowed(everything)
if len(table.columns) < len(everything.columns):
    st.info(
        f"The best {len(table.columns)} of {len(everything.columns)} columns by mean are shown: "
        "filter by method, size or setting to see others."
    )
best = leaderboard.best(table, leaderboard.definitions_of(shown))
counts = leaderboard.coverage(table)
card = st.container()
clicked = widgets.table_with_cells(
    tables.styled(table, best, counts, units.text, heat=heat),
    tables.with_coverage(table, counts),
    alt=f"{metric_cells.METRICS[metric]} in {units.name}, categories by methods",
    has_rows=True,
)
row = widgets.chosen_row(tables.with_coverage(table, counts))
if row is not None and row in metric_cells.names(shown):
    st.switch_page(
        "pages/category.py",
        query_params={"category": metric_cells.qualified(dataset, row)} | frame.kept_query(),
    )
st.caption(
    f"{metric_cells.METRICS[metric]}, {units.name}. "
    + " · ".join(KIND_NAMES.values())
    + f". {tables.MARK} and bold: best of its row at the printed precision. RD4AD first, then by "
    "average. Averages are computed here, and only where every category has a value. "
    "Click a value to see its source and its run; check the box of a row to open its category."
)
for sentence in leaderboard.disagreements(shown):
    st.warning(sentence, icon=":material/rule:")

if clicked is not None:
    row, column = clicked
    cell = leaderboard.cell_at(shown, row, column)
    with card:
        if cell is None:
            st.info(f"{column} has no value for {metric_cells.row_name(row)}.")
        else:
            widgets.show_links(leaderboard.links(cell, dataset), frame.kept_query())
            title = f"{column} · {metric_cells.row_name(row)}"
            widgets.show_card(title, tables.card(cell, units.text))
            for run in filter(None, map(run_cache.run_named, cell["runs"])):
                metric = certainty.metric_card(run, cell, units.text)
                title = f"Run {run.record['run_id']}"
                widgets.show_card(
                    title,
                    metric | run_text.run_card(run, index_cache.on_the_hub(run.record["run_id"])),
                    run_text.commands(run),
                )

left, right = st.columns(2)
with left.expander("Compare two columns", expanded="first" in st.query_params):
    names = list(table.columns)
    one = widgets.choose(
        "First",
        names,
        "first",
        "Sets the column that the second one is subtracted from.",
        default="○ RD4AD WR50 256",
    )
    other = widgets.choose(
        "Second",
        names,
        "second",
        "Sets the column that is subtracted.",
        default="○ PaDiM WR50 256",
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
