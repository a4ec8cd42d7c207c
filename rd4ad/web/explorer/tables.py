"""Tables as the pages show them: metrics in the chosen units, the best in a row marked."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

import pandas as pd
from pandas.io.formats.style import Styler

from rd4ad.catalogue import DEFAULT_METHOD, METHODS, title_of
from rd4ad.runs.comparison import Difference
from rd4ad.web.explorer.screens.metric_cells import AVERAGES, row_name
from rd4ad.web.explorer.style import BACKBONES, KIND_NAMES

Text = Callable[[Any], str]
MARK = "★"
BEST = "font-weight: 700"
HEAT = "background-color: rgba(0, 114, 178, {:.2f})"
METRIC_NAMES = {
    "image_auroc": "Image AUROC",
    "image_ap": "Image AP",
    "image_f1_max": "Image F1-max",
    "pixel_auroc": "Pixel AUROC",
    "pixel_ap": "Pixel AP",
    "pixel_f1_max": "Pixel F1-max",
    "aupro": "PRO, MVTec at 0.3",
    "aupro_0.05": "PRO, MVTec at 0.05",
    "aupro_per_image": "PRO, released code",
}
"""Names of measured metrics; each PRO with its definition."""
COVERAGE = "Measured"
"""Row of the leaderboard that says how many categories a column has."""


def with_coverage(table: pd.DataFrame, counts: Mapping[str, int]) -> pd.DataFrame:
    """Return the leaderboard under a row of how many categories each column has."""
    first = pd.DataFrame([counts], index=[COVERAGE], columns=table.columns).astype(float)
    return pd.concat([first, table])


def styled(
    table: pd.DataFrame, best: pd.DataFrame, counts: Mapping[str, int], text: Text, *, heat: bool
) -> Styler:
    """Return the leaderboard with readable row names, the best of each row bold and starred.

    Args:
        table: fractions; see `rd4ad.web.explorer.screens.leaderboard.wide`.
        best: which cells are the best of their row.
        counts: of the categories that each column has.
        text: prints one metric.
        heat: tint every row from its lowest metric to its highest.
    """
    look = best.map(lambda is_best: BEST if is_best else "")
    if heat:
        low, high = table.min(axis=1), table.max(axis=1)
        share = table.sub(low, axis=0).div((high - low).replace(0, 1), axis=0)
        tint = share.map(lambda s: "" if pd.isna(s) else HEAT.format(0.03 + 0.3 * s))
        look = (look + ";" + tint).map(lambda css: css.strip(";"))
    shown = with_coverage(table, counts).rename(index=row_name)
    best, look = best.rename(index=row_name), look.rename(index=row_name)
    look = look.reindex(shown.index, fill_value="")
    style = shown.style.format(text).apply(lambda _: look, axis=None)
    everything = int((~table.index.isin(list(AVERAGES))).sum())
    style = style.format(lambda n: f"{n:.0f} of {everything}", subset=([COVERAGE], shown.columns))
    for name in best.index:
        starred = best.columns[best.loc[name]]
        if len(starred):
            style = style.format(lambda x: f"{MARK} {text(x)}", subset=([name], starred))
    return style


def diverging(difference: float, largest: float) -> str:
    """Return the look of a signed difference: blue above zero, vermilion below, clear at zero.

    >>> diverging(0.01, 0.02)
    'background-color: rgba(0, 114, 178, 0.20)'
    """
    if pd.isna(difference) or not largest:
        return ""
    hue = "0, 114, 178" if difference > 0 else "213, 94, 0"
    return f"background-color: rgba({hue}, {0.4 * abs(difference) / largest:.2f})"


def styled_pairs(pairs: pd.DataFrame, text: Text) -> Styler:
    """Return `reproduction.pairs` with readable headers, differences tinted by sign and size."""
    names = {
        "category": "Category", "method": "Method", "reported": "○ Reported",
        "reproduced": "● Reproduced", "sd": "± seeds", "difference": "Difference",
        "theirs": "Backbone, paper", "ours": "Backbone, here", "setting": "Setting here",
        "definition": "Definition here", "run": "Images",
    }  # fmt: skip
    shown = pairs.assign(
        run=[f"threshold?{urlencode({'run': name})}" for name in pairs["run"]],
    )
    if shown["definition"].nunique() < 2:  # AUROC has a single one
        del names["definition"]
    if "category" in shown:
        shown["category"] = shown["category"].map(row_name)
    names = {name: said for name, said in names.items() if name in shown}
    shown = shown[list(names)].rename(columns=names)
    largest = float(pairs["difference"].abs().max())
    looks = pairs["difference"].map(lambda one: diverging(one, largest))
    printed = dict.fromkeys(("○ Reported", "● Reproduced", "± seeds"), text)
    style = shown.style.format({**printed, "Difference": with_sign(text)})
    return style.apply(lambda _: looks, subset=["Difference"])


def styled_delta(compared: pd.DataFrame, text: Text, told: Mapping[str, Difference]) -> Styler:
    """Return the `delta` of two columns with signed differences, wins and losses tinted.

    Args:
        compared: see `rd4ad.web.explorer.screens.leaderboard.delta`.
        text: prints one metric.
        told: see `rd4ad.web.explorer.screens.certainty`; where it has an interval, it is shown.
    """
    tint = {"win": "rgba(0, 114, 178, 0.2)", "loss": "rgba(213, 94, 0, 0.2)", "tie": "transparent"}

    signed = with_sign(text)
    known = {name: one for name, one in told.items() if not one.reason}
    certain = pd.DataFrame(
        {
            name: (
                f"[{signed(one.ci_low)}, {signed(one.ci_high)}]",
                "yes" if one.is_distinguishable else "no",
            )
            for name, one in known.items()
        },
        index=["95% interval", "distinguishable"],
    ).T
    shown = compared.join(certain.reindex(compared.index).fillna("–")) if known else compared
    shown = shown.rename(index=row_name)
    looks = shown["outcome"].map(lambda outcome: f"background-color: {tint[outcome]}")

    style = shown.style.format({"first": text, "second": text, "difference": signed})
    return style.apply(lambda _: looks, subset=["outcome"])


def card(cell: "pd.Series[Any]", text: Text) -> dict[str, str]:
    """Return what to say of one cell of the leaderboard, by name."""
    said = {
        "Metric": text(cell["value"]),
        "Kind": KIND_NAMES[cell["kind"]],
        "Definition": cell["definition"] or "not stated; one definition is in use",
        "By": cell["by"],
        "Backbone": cell["backbone"] or "not stated",
        "Image size": "not stated" if pd.isna(cell["size_px"]) else f"{cell['size_px']} px",
        "Setting": cell["setting"],
        "Source": cell["source"],
        "Note": cell["note"],
    }
    if pd.notna(cell["stated"]):
        said["Stated by the source"] = f"{text(cell['stated'])}; its own rows give the above"
    if cell["category"] in AVERAGES:
        said["Average"] = "computed here from the rows above"
    if pd.notna(cell["sd"]):
        said["Mean of"] = f"{len(cell['runs'])} seeds, standard deviation {text(cell['sd'])}"
    elif len(cell["runs"]) > 1:
        said["Mean of"] = f"{len(cell['runs'])} runs"
    return {name: str(value) for name, value in said.items() if value}


def with_interval(value: float, low: float, high: float, text: Text) -> str:
    """Return a metric with its interval, if it has one, as printed.

    >>> with_interval(0.974, 0.951, 0.99, "{:.3f}".format)
    '0.974 [0.951, 0.990]'
    """
    return text(value) if pd.isna(low) else f"{text(value)} [{text(low)}, {text(high)}]"


def readable(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of the index with methods, backbones and layers as the pages name them.

    >>> rows = pd.DataFrame({"method": ["padim"], "backbone": ["resnet18"], "layers": ["1"]})
    >>> readable(rows).loc[0].tolist()
    ['PaDiM', 'R18', 'fused']
    """
    fused = rows["method"].map(lambda name: name in METHODS and METHODS[name].has_one_map)
    return rows.assign(
        method=rows["method"].map(title_of),
        backbone=rows["backbone"].map(BACKBONES).fillna(rows["backbone"]),
        layers=rows["layers"].mask(fused.astype(bool), "fused"),
    )


def in_order(runs: pd.DataFrame) -> pd.DataFrame:
    """Return runs by dataset and category, in each RD4AD's of the largest images first.

    Of one size, the longest training comes first.

    Args:
        runs: rows of `rd4ad.runs.index.read_index` at the runs' own scoring.
    """
    order = ["dataset", "category", "is_other", "size_px", "epochs", "backbone", "method",
             "variant", "seed"]  # fmt: skip
    ascending = [name not in ("size_px", "epochs") for name in order]
    table = runs.assign(is_other=runs["method"] != DEFAULT_METHOD)
    table = table.sort_values(order, ascending=ascending, ignore_index=True)
    return table.drop(columns="is_other")


def of_category(runs: pd.DataFrame, dataset: str, category: str) -> pd.DataFrame:
    """Return the runs of one category."""
    return runs[(runs["dataset"] == dataset) & (runs["category"] == category)]


def pairs_in_words(values: Mapping[str, float], text: Text) -> str:
    """Return metrics by name in words."""
    return ", ".join(f"{name} {text(value)}" for name, value in values.items())


def runs_in_words(runs: pd.DataFrame, text: Text) -> pd.DataFrame:
    """Return measured runs with readable headers, metrics in the chosen units with intervals.

    Metrics are text, flushed right so that sorting a column sorts its metrics.
    """
    settings = {
        "method": "Method", "backbone": "Backbone", "size_px": "Size, px", "seed": "Seed",
        "epochs": "Epochs", "variant": "Training configuration", "layers": "Layers",
        "smoothing": "Smoothing, px",
    }  # fmt: skip
    shown = readable(runs)[list(settings)].rename(columns=settings)
    for name, title in METRIC_NAMES.items():
        if name in runs:
            parts = (runs[name], runs[f"{name}_ci_low"], runs[f"{name}_ci_high"])
            printed = [
                with_interval(v, low, high, text) for v, low, high in zip(*parts, strict=True)
            ]
            shown[title] = [" " * (5 - len(p.partition(" ")[0])) + p for p in printed]
    return shown


def with_links(runs: pd.DataFrame, text: Text) -> pd.DataFrame:
    """Return `runs_in_words` and before them `Images`, the address of a run's images and curves."""
    shown = runs_in_words(runs, text)
    addresses = [f"threshold?{urlencode({'run': name})}" for name in runs["run_id"]]
    shown.insert(0, "Images", addresses)
    return shown


def styled_reproduction(table: pd.DataFrame, text: Text) -> Styler:
    """Return `reproduction.reported_beside` with readable headers, signed differences."""
    names = {
        "method": "Method", "setting": "Setting", "definition": "Definition, ours",
        "reproduced": "Reproduced", "ours": "Backbone, ours", "reported": "Reported",
        "theirs": "Backbone, theirs", "by": "By", "theirs_definition": "Definition, theirs",
        "difference": "Difference",
    }  # fmt: skip
    style = table.rename(columns=names).style.format(text, subset=["Reproduced", "Reported"])
    return style.format(with_sign(text), subset=["Difference"])


def with_sign(text: Text) -> Text:
    """Return what prints a difference as `text` prints a metric, positive ones with their sign.

    >>> [with_sign("{:.1f}".format)(x) for x in (0.5, -0.5)]
    ['+0.5', '-0.5']
    """

    def signed(difference: Any) -> str:
        return f"{'+' if difference > 0 else ''}{text(difference)}"

    return signed


def in_words(cells: pd.DataFrame, text: Text) -> str:
    """Return the metrics of cells as a list in words, best first, for those who cannot see them."""
    best_first = cells.sort_values("value", ascending=False).head(12)
    return "; ".join(
        f"{row['method']} ({row['by']}) {text(row['value'])}"
        for row in best_first.to_dict("records")
    )


def scores_in_words(images: pd.DataFrame) -> str:
    """Return how the scores of normal and defective images lie, in words."""
    said = []
    for label, name in ((0, "normal"), (1, "defective")):
        scores = images.loc[images["label"] == label, "score"]
        if len(scores):
            said.append(f"{len(scores)} {name} from {scores.min():.3f} to {scores.max():.3f}")
    return ", ".join(said)


def runs_count(runs: pd.DataFrame) -> pd.DataFrame:
    """Return how many runs, seeds and categories are stored by dataset, method and backbone."""
    groups = runs.groupby(["dataset", "method", "backbone", "size_px"], sort=False)
    table = groups.agg(
        categories=("category", "nunique"), seeds=("seed", "nunique"), runs=("run_id", "nunique")
    ).reset_index()
    table["method"] = table["method"].map(title_of)
    table["backbone"] = table["backbone"].map(BACKBONES).fillna(table["backbone"])
    names = {"dataset": "Dataset", "size_px": "Size, px"}
    return table.rename(columns=names).rename(columns=str.capitalize)


def spread(values: Mapping[str, float], text: Text) -> str:
    """Return the largest difference between definitions, in a sentence."""
    known = {name: value for name, value in values.items() if not pd.isna(value)}
    if len(known) < 2:
        return "Fewer than two definitions give a metric here."
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return (
        f"The same maps give between **{text(known[low])}** ({low}) and **{text(known[high])}** "
        f"({high}): a spread of **{text(known[high] - known[low])}** by definition alone."
    )


def pro_definitions(cells: pd.DataFrame) -> pd.DataFrame:
    """Return who printed PRO metrics, of which methods, by which definition as far as stated.

    Args:
        cells: published ones; see `rd4ad.web.explorer.screens.metric_cells`.
    """
    pro = cells[cells["metric"] == "pro"]
    groups = pro.groupby(["by", "definition", "kind", "source"], sort=False)["method"]
    table = groups.agg(lambda names: ", ".join(dict.fromkeys(names))).reset_index()
    table["kind"] = table["kind"].map(KIND_NAMES)
    names = {
        "by": "By", "method": "Methods", "definition": "Definition", "kind": "Kind",
        "source": "Source",
    }  # fmt: skip
    return table.rename(columns=names)[list(names.values())]
