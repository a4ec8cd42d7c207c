"""What the stored results show, before anybody asks: a claim, its number, its evidence.

Every finding is computed from results/. One whose evidence is missing is left out, and one that the
evidence no longer supports says so in its claim.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from rd4ad.catalogue import DEFAULT_METHOD, title_of
from rd4ad.runs.comparison import seed_spread
from rd4ad.runs.index import metric_rows, read_index
from rd4ad.runs.published import averages, read_published
from rd4ad.web.explorer.screens import complexity as costs
from rd4ad.web.explorer.screens.finding import Cell, Evidence, Finding, Mark, spread_mark
from rd4ad.web.explorer.screens.metric_cells import MVTEC, PAPER, longest_trainings, row_name
from rd4ad.web.explorer.screens.transistor_findings import (
    definition,
    difference_over_seeds,
    layers,
    size,
)
from rd4ad.web.explorer.style import BACKBONES
from rd4ad.web.explorer.tables import METRIC_NAMES
from rd4ad.web.explorer.units import Units

WITHIN = 0.01
"""Reproduced and reported values are called alike if they lie this close."""
_SHOWN = {"image_auroc": "Image AUROC", "pixel_auroc": "Pixel AUROC", "aupro": "PRO"}


def read_evidence(results: Path) -> Evidence:
    """Return the evidence in a folder of results, as far as it is there.

    Raises:
        FileNotFoundError: there are no published metrics.
        ValueError: a file is damaged; the message names it.
    """
    try:
        runs = read_index(results, is_default=True)
    except FileNotFoundError:
        runs = pd.DataFrame()  # nothing measured yet
    has_runs = not runs.empty
    rows = [row for path in costs.records(results) for row in costs.read_record(path)]
    published = pd.read_csv(results / "published/complexity.csv")
    agreement = results / "bench/agreement.json"
    return Evidence(
        runs=runs if has_runs else None,
        transistor=read_index(results, dataset=MVTEC, category="transistor") if has_runs else None,
        published=read_published(results),
        studies=pd.read_csv(results / "published/rd4ad_studies.csv"),
        costs=costs.table(published, costs.first_of_each(rows)),
        agreement=costs.read_record(agreement) if agreement.exists() else [],
    )


def supported_findings(evidence: Evidence, units: Units) -> list[Finding]:
    """Return the findings that the evidence supports, in the order of the first screen."""
    makers = (
        _table_2, layers, size, definition, _one_for_all, _cost, _agreement, _seeds, _average,
    )  # fmt: skip
    found = (make(evidence, units) for make in makers)
    return [finding for finding in found if finding is not None]


def _table_2(evidence: Evidence, units: Units) -> Finding | None:
    """How far the paper's pixel AUROC is from the longest trainings here, by category."""
    if evidence.runs is None:
        return None
    told = evidence.published
    reported = told[
        (told["by"] == PAPER) & (told["method"] == title_of(DEFAULT_METHOD))
        & (told["metric"] == "pixel_auroc") & (told["size_px"] == 256)
    ].set_index("category")["value"]  # fmt: skip
    own = evidence.runs
    own = own[
        (own["dataset"] == MVTEC) & (own["method"] == DEFAULT_METHOD) & (own["size_px"] == 256)
        & own["backbone"].str.startswith("resnet")
    ]  # fmt: skip
    if own.empty:
        return None
    own = longest_trainings(own)
    means = own.groupby("category")["pixel_auroc"].agg(list)
    marks: list[Mark] = []
    close = []
    for category, values in sorted((str(name), values) for name, values in means.items()):
        if category not in reported.index:
            continue
        name = row_name(category)
        marks += [
            Mark(f"{name}, paper", float(reported[category]) * units.factor, "reported"),
            spread_mark(f"{name}, this project", Cell(tuple(values)), units),
        ]
        if abs(np.mean(values) - reported[category]) <= WITHIN:
            close.append(name.lower())
    n = len(marks) // 2
    if not n:
        return None
    backbones = ", ".join(BACKBONES.get(name, name) for name in sorted(set(own["backbone"])))
    all_of_them = " and ".join(close) if close else "no category"
    return Finding(
        key="table_2",
        claim=f"The paper's Table 2, measured again: it holds on {all_of_them}.",
        number=f"{len(close)} of {n}",
        about=f"measured categories lie within {units.text(WITHIN)} of the paper's pixel AUROC "
        f"({units.name}), with the smaller backbone {backbones} at 256 px. The other categories "
        "are not measured.",
        axis=f"Pixel AUROC, {units.name}",
        marks=tuple(marks),
        page="pages/leaderboard.py",
        query={"view": "reported against reproduced"},
    )


def _multi_class(runs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame] | None:
    """Return the runs of models for several categories, of the setting with most, and of one each.

    The former gain `n`, how many categories, and `rest`, the training configuration otherwise.
    """
    own = runs[(runs["dataset"] == MVTEC) & (runs["method"] == DEFAULT_METHOD)]
    named = own["variant"].str.extract(r"^multi-class of (?P<n>\d+)(?:, )?(?P<rest>.*)$")
    together = own.join(named).dropna(subset="n")
    if together.empty:
        return None
    keys = ["backbone", "size_px", "epochs", "n", "rest"]
    _, together = max(together.groupby(keys), key=lambda group: len(group[1]))
    first = together.iloc[0]
    alone = own[
        (own["backbone"] == first["backbone"]) & (own["size_px"] == first["size_px"])
        & (own["epochs"] == first["epochs"]) & (own["variant"] == first["rest"])
    ]  # fmt: skip
    return together, alone


def _one_for_all(evidence: Evidence, units: Units) -> Finding | None:
    """What one model for several categories costs against a model for each, by category."""
    found = None if evidence.runs is None else _multi_class(evidence.runs)
    if found is None:
        return None
    together, alone = found
    first = together.iloc[0]
    pairs = {
        str(name): tuple(
            tuple(rows.loc[rows["category"] == name, "image_auroc"]) for rows in (together, alone)
        )
        for name in sorted(set(together["category"]) & set(alone["category"]))
    }
    if not pairs:
        return None
    told = {name: difference_over_seeds(*pair) for name, pair in pairs.items()}
    worse = [row_name(name).lower() for name, (_, _, high) in told.items() if high < 0]
    mean = float(np.mean([apart for apart, _, _ in told.values()]))
    signed = f"{{:+.{units.digits}f}}".format
    network = f"{BACKBONES.get(first['backbone'], first['backbone'])}, {first['size_px']} px"
    n_seeds = min(len(values) for pair in pairs.values() for values in pair)
    seeds = f"{n_seeds} seeds each" if n_seeds > 1 else "one seed each"
    return Finding(
        key="one_for_all",
        claim=f"One model for {first['n']} categories finds "
        + (f"less on {' and '.join(worse)}." if worse else f"as much as {first['n']} models."),
        number=signed(mean * units.factor),
        about=f"image AUROC in {units.name}, one model minus a model for each category, mean of "
        f"{', '.join(row_name(name).lower() for name in pairs)}; {network}, "
        f"{first['epochs']:g} epochs, {seeds}.",
        axis=f"Image AUROC, {units.name}",
        marks=tuple(
            spread_mark(f"{row_name(name)}, {who}", Cell(values), units)
            for name, pair in pairs.items()
            for who, values in zip(("one model", "its own"), pair, strict=True)
        ),
        page="pages/ablations.py",
        query={
            "category": f"{MVTEC} / {min(pairs)}",
            "figure": METRIC_NAMES["image_auroc"],
            "down": "Training configuration",
            "across": "Seed",
        },
    )


def _cost(evidence: Evidence, units: Units) -> Finding | None:
    rows = evidence.costs[evidence.costs["label"].str.contains("PaDiM|SPADE")]
    rows = rows.dropna(subset=["seconds_ratio", "memory_ratio"])
    published = rows[rows["kind"] == "reported"]
    measured = rows[(rows["kind"] == "reproduced") & rows["label"].str.contains("256")]
    if published.empty or measured.empty:
        return None
    low, high = measured["seconds_ratio"].min(), measured["seconds_ratio"].max()
    is_faster = low > 1
    claim = (
        "RD4AD is faster than PaDiM and SPADE with the same backbone, on the same host."
        if is_faster
        else "RD4AD takes about the time of PaDiM and a fraction of SPADE's."
    )
    memory = ", ".join(
        f"{row['label']} {row['memory_ratio']:.1f} ×" for row in measured.to_dict("records")
    )
    return Finding(
        key="cost",
        claim=claim,
        number=f"{low:.1f} to {high:.1f} ×",
        about=f"the time of RD4AD, measured in turn on one host. Memory: {memory}.",
        axis="Inference time, × RD4AD (log scale)",
        marks=tuple(
            Mark(
                row["label"] + (", paper" if row["kind"] == "reported" else ""),
                float(row["seconds_ratio"]),
                row["kind"],
            )
            for row in pd.concat([published, measured]).to_dict("records")
        ),
        page="pages/complexity.py",
        is_log=True,
    )


def _agreement(evidence: Evidence, units: Units) -> Finding | None:
    apart = {row["quantity"]: float(row["largest_difference"]) for row in evidence.agreement}
    maps = {name: value for name, value in apart.items() if name.startswith("distance maps")}
    others = {name: value for name, value in apart.items() if name.startswith("PRO")}
    if not maps:
        return None
    named = {
        f"maps, {BACKBONES.get(name.rpartition(' ')[2], name)}": value
        for name, value in maps.items()
    } | others
    return Finding(
        key="agreement",
        claim="With the same weights, this code gives the released code's anomaly maps.",
        number=f"{max(maps.values()):.0e}".replace("e-0", "e-"),
        about="the largest difference of any pixel of a distance map, on a scale from 0 to 2; PRO "
        "beside MVTec's own evaluation.",
        axis="Largest difference (log scale)",
        marks=tuple(Mark(name, value, "reproduced") for name, value in named.items()),
        page="pages/about.py",
        is_log=True,
    )


def least_difference(sd: float, n: int) -> float:
    """Return how far two means of `n` seeds must lie apart to be distinguished (95%).

    >>> round(least_difference(0.004, 3), 4)
    0.0091

    Args:
        sd: standard deviation over seeds, alike for both.
        n: seeds of each, at least 2.
    """
    from scipy.stats import t  # see `difference_over_seeds`

    return float(t.ppf(0.975, 2 * n - 2) * sd * np.sqrt(2 / n))


def _seeds(evidence: Evidence, units: Units) -> Finding | None:
    if evidence.runs is None:
        return None
    own = evidence.runs[
        (evidence.runs["dataset"] == MVTEC) & (evidence.runs["method"] == DEFAULT_METHOD)
    ]
    own = own[own["epochs"] == own["epochs"].max()]
    spread = seed_spread(metric_rows(own, list(_SHOWN))).dropna(subset="sd")
    spread = spread[spread["n"] >= 3]
    if spread.empty:
        return None
    pooled = {name: float(np.sqrt((mine["sd"] ** 2).mean())) for name, mine in _by_metric(spread)}
    needed = {name: least_difference(sd, 3) for name, sd in pooled.items()}
    settings = len(spread) // len(pooled)
    return Finding(
        key="seeds",
        claim="Smaller differences than these are chance: what three seeds can tell apart.",
        number=" / ".join(units.text(needed[name]) for name in needed),
        about=f"{units.name} of "
        + ", ".join(_SHOWN[name] for name in needed)
        + f": the least difference of two means of three seeds that counts (95%), from the spread "
        f"of {settings} settings of the full schedule.",
        axis=f"Least difference, {units.name}",
        marks=tuple(
            Mark(_SHOWN[name], value * units.factor, "reproduced") for name, value in needed.items()
        ),
        page="pages/ablations.py",
        query={"down": "Seed", "across": "Image size, px"},
    )


def _by_metric(spread: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for name in _SHOWN:
        mine = spread[spread["metric"] == name]
        if len(mine):
            yield name, mine


def _average(evidence: Evidence, units: Units) -> Finding | None:
    table = averages(evidence.published)
    wrong = table[~table["agrees"] & table["stated"].notna() & table["computed"].notna()]
    if wrong.empty:
        return None
    apart = (wrong["stated"] - wrong["computed"]).abs()
    one = wrong.iloc[int(apart.to_numpy().argmax())]
    rows = "Total" if one["category"] == "avg_total" else row_name(str(one["category"])).lower()
    more = units.digits + 1
    stated, computed = (one[name] * units.factor for name in ("stated", "computed"))
    metric = METRIC_NAMES.get(str(one["metric"]), "PRO")
    return Finding(
        key="average",
        claim=f"A stated average that its own rows do not give: {one['method']}'s "
        f"{metric.replace('Pixel', 'pixel').replace('Image', 'image')}.",
        number=f"{stated:.{units.digits}f}, not {computed:.{more}f}",
        about=f"{units.name}: the {rows} average as {one['by']} prints it, and the mean of the "
        f"rows of the same table. Averages that disagree: {len(wrong)} of {len(table)}.",
        axis=f"{metric}, {units.name}",
        marks=(
            Mark("stated", stated, "reported"),
            Mark("mean of its rows", computed, "reproduced"),
        ),
        page="pages/leaderboard.py",
        query={"metric": METRIC_NAMES.get(str(one["metric"]), "PRO")},
    )
