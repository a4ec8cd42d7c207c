"""Published and measured metrics as one table of cells, which the screens narrow and show.

A cell is one metric of one category in one column. A column is what one source says of one method
at one setting, by one definition. Columns of different kinds (reported, reproduced, third-party)
stand side by side and are never averaged together.
"""

from collections.abc import Collection, Sequence

import pandas as pd

from rd4ad.catalogue import METHODS, NO_BACKBONE, title_of
from rd4ad.runs.comparison import seed_spread
from rd4ad.runs.index import metric_rows
from rd4ad.runs.published import GROUPS, KEYS
from rd4ad.scoring import layers_name
from rd4ad.web.explorer.style import BACKBONES, KIND_MARKS

PAPER, OURS, EXTERNAL = "RD4AD paper", "This project", "Other programs"
MVTEC = "MVTec AD"
METRICS = {"pixel_auroc": "Pixel AUROC", "image_auroc": "Image AUROC", "pro": "PRO"}
PRO_DEFINITIONS = {
    "aupro": "MVTec, limit 0.3",
    "aupro_0.05": "MVTec, limit 0.05",
    "aupro_per_image": "released code",
}
"""Measured metrics that are PRO, by definition."""
AVERAGES = {"avg_texture": "Textures", "avg_object": "Objects", "avg_total": "Total"}
USUAL = "one-class"
"""The setting of a method's own schedule, one model a category."""
CELL_COLUMNS = (
    *KEYS, "category", "definition", "value", "sd", "kind", "source", "note", "stated", "runs",
)  # fmt: skip
_RUN_KEYS = [
    "method", "backbone", "size_px", "epochs", "variant", "layers", "fusion", "smoothing",
]  # fmt: skip


def published_cells(table: pd.DataFrame, averages: pd.DataFrame) -> pd.DataFrame:
    """Return the cells of the published metrics, our averages of them among them.

    Args:
        table: as `rd4ad.runs.published.read_published` returns it.
        averages: as `rd4ad.runs.published.averages` returns them; `stated` is kept where it
            disagrees.
    """
    rows = table[~table["category"].isin(AVERAGES)].assign(stated=float("nan"))
    about = rows.drop_duplicates(list(KEYS))[[*KEYS, "definition", "kind", "source", "note"]]
    ours = averages.merge(about, on=list(KEYS)).rename(columns={"computed": "value"})
    ours["stated"] = ours["stated"].mask(ours["agrees"])
    cells = pd.concat([rows, ours[ours["value"].notna()]], ignore_index=True)
    none = pd.Series([()] * len(cells), cells.index, dtype=object)
    return cells.assign(runs=none, sd=float("nan"))[list(CELL_COLUMNS)]


def measured_cells(
    runs: pd.DataFrame, dataset: str, metrics: Collection[str] = tuple(METRICS)
) -> pd.DataFrame:
    """Return the cells of the runs on a dataset, each at its own scoring.

    Several seeds of one setting make one cell: their mean, and in `sd` their standard deviation.
    Averages over categories are there only where every category was measured.

    Args:
        runs: rows of `rd4ad.runs.index.read_index` at the runs' own scoring.
        dataset: name of a dataset among them.
        metrics: keys of `METRICS`; each takes a row a run, which is much with many runs.
    """
    rows = runs[runs["dataset"] == dataset]
    rows = rows.assign(epochs=rows["epochs"].fillna(-1))
    kept = {name: (name,) for name in METRICS} | {"pro": tuple(PRO_DEFINITIONS)}
    rows = metric_rows(rows, [metric for name in metrics for metric in kept[name]])
    cells = seed_spread(rows).rename(columns={"mean": "value"})
    cells["definition"] = cells["metric"].map(PRO_DEFINITIONS).fillna("exact")
    everything = GROUPS if dataset == MVTEC else {"avg_total": tuple(sorted(set(rows["category"])))}
    means = [_means(cells, name, categories) for name, categories in everything.items()]
    cells = pd.concat([cells, *means], ignore_index=True)
    is_pro = cells["metric"].isin(PRO_DEFINITIONS)
    cells["setting"] = _settings(cells)
    cells["metric"] = cells["metric"].mask(is_pro, "pro")
    cells["method"] = cells["method"].map(title_of)
    is_own = cells["method"].isin([entry.title for entry in METHODS.values()])
    who = pd.Series(OURS, cells.index).mask(~is_own, EXTERNAL)
    kind = pd.Series("reproduced", cells.index).mask(~is_own, "external")
    cells = cells.assign(by=who, kind=kind, source=who, note="", stated=float("nan"))
    return cells.astype({"size_px": "Int64"})[list(CELL_COLUMNS)]


def longest_trainings(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of each category's longest training, with all its seeds.

    Of several that are equally long, those of the plainest configuration, which names the least.

    >>> rows = [("bottle", 50, "", 0.7), ("bottle", 200, "", 0.8), ("bottle", 200, "", 0.9),
    ...         ("bottle", 200, "per position loss", 0.1), ("pill", 50, "bfloat16", 0.6)]
    >>> runs = pd.DataFrame(rows, columns=["category", "epochs", "variant", "aupro"])
    >>> longest_trainings(runs)["aupro"].tolist()
    [0.8, 0.9, 0.6]

    Args:
        runs: rows of `rd4ad.runs.index.read_index` on one dataset, of one method and size.
    """
    told = runs.assign(epochs=runs["epochs"].fillna(-1), variant=runs["variant"].fillna(""))
    best = told.sort_values(["epochs", "variant"], ascending=[False, True])
    best = best.drop_duplicates("category")[["category", "epochs", "variant"]]
    return told.merge(best)


def _means(cells: pd.DataFrame, name: str, categories: Collection[str]) -> pd.DataFrame:
    """Return the mean over categories of every setting that was measured on all of them."""
    inside = cells[cells["category"].isin(categories)]
    groups = inside.groupby([*_RUN_KEYS, "metric", "definition"], sort=False)
    means = groups.agg(
        value=("value", "mean"), runs=("runs", "sum"), n=("category", "size")
    ).reset_index()
    return means[means["n"] == len(categories)].drop(columns="n").assign(category=name)


def _settings(cells: pd.DataFrame) -> pd.Series:
    """Return what a run's setting says beyond method, backbone and size, empty where usual."""
    entries = {method: METHODS[method] for method in set(cells["method"]) & set(METHODS)}
    own = {m: layers_name(entry.map_layers(entry.layers)) for m, entry in entries.items()}
    usual = (cells["layers"] == cells["method"].map(own)) & (cells["fusion"] == "sum")
    said = "layers " + cells["layers"] + ", " + cells["fusion"]
    schedule = cells["method"].map({m: entry.epochs for m, entry in entries.items()})
    is_usual = (cells["epochs"] == -1) | (cells["epochs"] == schedule)
    epochs = cells["epochs"].map("{:g} epochs".format).mask(is_usual, "")
    parts = zip(said.where(~usual, ""), epochs, cells["variant"].fillna(""), strict=True)
    joined = [", ".join(filter(None, words)) or USUAL for words in parts]
    return pd.Series(joined, cells.index)


def choose(
    cells: pd.DataFrame,
    metric: str,
    *,
    sources: Collection[str],
    sizes: Collection[str] = (),
    methods: Collection[str] = (),
    definitions: Collection[str] = (),
    settings: Collection[str] = (),
) -> pd.DataFrame:
    """Return the cells of one metric, narrowed; an empty choice narrows nothing.

    Args:
        cells: see this module.
        metric: a key of `METRICS`.
        sources: names out of `sources_of`.
        sizes: image sizes in pixels as text, or "not stated".
        methods: names of methods.
        definitions: of PRO.
        settings: as the column `setting` has them.
    """
    kept = (cells["metric"] == metric) & source_of(cells).isin(list(sources))
    for column, chosen in (
        (cells["size_px"].astype("string").fillna("not stated"), sizes),
        (cells["method"], methods),
        (cells["definition"], definitions),
        (cells["setting"], settings),
    ):
        if chosen:
            kept &= column.isin(list(chosen))
    return cells[kept]


def source_of(cells: pd.DataFrame) -> pd.Series:
    """Return for each cell who says so, in a few words: see `SOURCES`."""
    others = cells["kind"].map({"reported": "Other papers", "third-party": "Third parties"})
    return cells["by"].where(cells["by"].isin([PAPER, OURS, EXTERNAL]), others)


SOURCES = (PAPER, OURS, "Other papers", "Third parties", EXTERNAL)
SHOWN_AT_FIRST = (PAPER, OURS, EXTERNAL)


def sources_of(runs: pd.DataFrame | None) -> tuple[str, ...]:
    """Return `SOURCES`, the last one only where a run of another program is stored.

    >>> sources_of(pd.DataFrame({"method": ["padim"]}))[-1]
    'Third parties'
    """
    has_external = runs is not None and not runs["method"].isin(list(METHODS)).all()
    return SOURCES if has_external else SOURCES[:-1]


def main_settings(cells: pd.DataFrame) -> pd.DataFrame:
    """Return cells with one setting for each method, backbone and size of this project.

    The one that was measured on most categories; of several, that of the method's own schedule,
    then the first. Cells of other sources stay as they are.
    """
    ours = cells["kind"] == "reproduced"
    own = cells[ours & ~cells["category"].isin(list(AVERAGES))]
    keys = ["method", "backbone", "size_px"]
    counted = own.groupby([*keys, "setting"], sort=False, dropna=False)["category"].nunique()
    ranked = counted.rename("n").reset_index()
    ranked["is_usual"] = ranked["setting"] == USUAL
    ranked = ranked.sort_values(["n", "is_usual"], ascending=False, kind="stable")
    main = ranked.drop_duplicates(keys)[[*keys, "setting"]]
    kept = cells[[*keys, "setting"]].merge(main.assign(is_main=True), how="left")["is_main"]
    return cells[~ours | kept.eq(True).to_numpy()]


def labels(cells: pd.DataFrame) -> pd.Series:
    """Return the column label of each cell: its kind's mark, method, backbone, size and setting.

    >>> cell = {"method": "RD4AD", "backbone": "wide_resnet50_2", "size_px": 256, "by": PAPER,
    ...         "setting": "one-class", "kind": "reported", "metric": "pixel_auroc",
    ...         "definition": ""}
    >>> labels(pd.DataFrame([cell])).item()
    '○ RD4AD WR50 256'
    """

    def label(row: tuple[str, ...]) -> str:
        method, backbone, size, by, setting, kind, metric, definition = row
        network = "" if backbone == NO_BACKBONE else BACKBONES.get(backbone, backbone)
        words = [KIND_MARKS[kind], method, network, size]
        if setting != USUAL:
            words.append(f"({setting})")
        if by not in (PAPER, OURS, EXTERNAL):
            words.append(f"({by})")
        if metric == "pro" and not definition.startswith("not stated"):
            words.append(f"· {definition}")
        return " ".join(word for word in words if word)

    keys = ["method", "backbone", "size_px", "by", "setting", "kind", "metric", "definition"]
    texts = cells[keys].astype("string").fillna("")
    distinct = {
        row: label(row) for row in texts.drop_duplicates().itertuples(index=False, name=None)
    }
    return pd.Series(
        [distinct[row] for row in texts.itertuples(index=False, name=None)], cells.index
    )


def short_labels(cells: pd.DataFrame) -> pd.Series:
    """Return `labels` without the settings in brackets, where they stay apart without them.

    >>> cell = {"method": "RD4AD", "backbone": "resnet18", "size_px": 256, "by": OURS,
    ...         "setting": "60 epochs", "kind": "reproduced", "metric": "pixel_auroc",
    ...         "definition": "exact"}
    >>> short_labels(pd.DataFrame([cell])).item()
    '● RD4AD R18 256'
    """
    long = labels(cells)
    short = long.str.replace(r" \([^()]*\)", "", regex=True)
    return long.mask(~short.duplicated(keep=False), short)


def row_name(category: str) -> str:
    """Return a category as the pages print it.

    >>> row_name("metal_nut"), row_name("avg_total")
    ('Metal nut', 'Total')
    """
    return AVERAGES.get(category, category.replace("_", " ").capitalize())


def names(cells: pd.DataFrame) -> set[str]:
    """Return the categories of some cells, averages left out."""
    return set(cells["category"]) - set(AVERAGES)


def sizes_of(cells: pd.DataFrame) -> list[str]:
    """Return the image sizes that occur, as text, ascending; "not stated" last."""
    sizes = sorted({int(size) for size in cells["size_px"].dropna()})
    stated = [str(size) for size in sizes]
    return [*stated, "not stated"] if cells["size_px"].isna().any() else stated


def qualified(dataset: str, category: str) -> str:
    """Return the name of a category that tells its dataset, as menus show it.

    >>> qualified(MVTEC, "tile"), unqualified("MVTec AD / tile")
    ('MVTec AD / tile', ('MVTec AD', 'tile'))
    """
    return f"{dataset} / {category}"


def unqualified(name: str) -> tuple[str, str]:
    """Return (dataset, category) of a `qualified` name."""
    dataset, _, category = name.rpartition(" / ")
    return dataset, category


def categories(runs: pd.DataFrame | None, mvtec: Sequence[str]) -> list[str]:
    """Return the qualified names of MVTec AD's categories, then of all others with a run."""
    known = {qualified(MVTEC, name): None for name in mvtec}
    if runs is not None:
        pairs = sorted(set(zip(runs["dataset"], runs["category"], strict=True)))
        known |= {qualified(dataset, category): None for dataset, category in pairs}
    return list(known)


def of_category(
    cells: Sequence[pd.DataFrame], metric: str, category: str, sources: Collection[str]
) -> pd.DataFrame:
    """Return the cells of one metric and category out of several tables, best last."""
    if not cells:
        return pd.DataFrame(columns=list(CELL_COLUMNS))
    table = pd.concat(cells, ignore_index=True)
    table = choose(table[table["category"] == category], metric, sources=sources)
    return table.dropna(subset="value").sort_values("value")
