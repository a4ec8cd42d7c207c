"""Tables as the pages show them: percent with one decimal, the best in a row marked."""

import pandas as pd
from pandas.io.formats.style import Styler

AVERAGES = {"avg_texture": "Textures", "avg_object": "Objects", "avg_total": "Total"}
BEST = "font-weight: 700; background-color: rgba(0, 114, 178, 0.16)"
AVERAGE = "background-color: rgba(128, 128, 128, 0.08)"


def published_table(cells: pd.DataFrame, averages: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return categories x "method size" in percent, with the computed averages below.

    Args:
        cells: published figures (see `rd4ad.published`).
        averages: as `rd4ad.published.averages` returns them.
        metric: which figure.
    """
    cells = cells[(cells["metric"] == metric) & ~cells["category"].isin(AVERAGES)]
    ours = averages[averages["metric"] == metric].rename(columns={"computed": "value"})
    rows = pd.concat([cells, ours], ignore_index=True)
    rows = rows.assign(column=rows["method"] + " " + rows["size_px"].astype(str))
    order = list(dict.fromkeys(rows["column"]))
    categories = list(dict.fromkeys(rows["category"]))
    table = rows.pivot(index="category", columns="column", values="value") * 100
    table = table.loc[categories, order].dropna(axis="columns", how="all")
    table.index = [AVERAGES.get(name, name.replace("_", " ").capitalize()) for name in table.index]
    return table


def marked(table: pd.DataFrame) -> Styler:
    """Return the table with one decimal and the best of each row bold on a tint, ties too.

    Rows of averages stand on grey.
    """
    best = table.round(1).eq(table.round(1).max(axis=1), axis=0)
    style = best.map(lambda is_best: BEST if is_best else "")
    averages = style.index.isin(list(AVERAGES.values()))
    style[averages] = style[averages].replace("", AVERAGE)
    return table.style.format("{:.1f}", na_rep="–").apply(lambda _: style, axis=None)


def runs_table(index: pd.DataFrame) -> pd.DataFrame:
    """Return one row a measured run with its figures in percent, at the run's own scoring."""
    chosen = index[index["is_default"]]
    keys = ["dataset", "category", "method", "backbone", "size_px", "seed", "layers", "smoothing"]
    table = chosen.pivot(index=["run_id", *keys], columns="metric", values="value") * 100
    return table.reset_index()
