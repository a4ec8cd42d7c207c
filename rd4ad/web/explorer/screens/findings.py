"""What the stored results show, before anybody asks: a claim, its number, its evidence.

Every finding is computed from results/. One whose evidence is missing is left out, and one that the
evidence no longer supports says so in its claim.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rd4ad.catalogue import DEFAULT_METHOD, title_of
from rd4ad.runs.comparison import seed_spread
from rd4ad.runs.index import metric_rows, read_index
from rd4ad.runs.published import averages, read_published
from rd4ad.web.explorer.screens import complexity as costs
from rd4ad.web.explorer.screens.leaderboard import MVTEC, PAPER, row_name
from rd4ad.web.explorer.style import BACKBONES
from rd4ad.web.explorer.tables import METRIC_NAMES
from rd4ad.web.explorer.units import Units

WITHIN = 0.01
"""Reproduced and reported values are called alike if they lie this close."""
_RELEASED = {"fusion": "sum", "smoothing": 4.0, "variant": ""}
_SHOWN = {"image_auroc": "Image AUROC", "pixel_auroc": "Pixel AUROC", "aupro": "PRO"}


@dataclass(frozen=True)
class Mark:
    """One value of a finding's chart, in the units that it is printed in; `low` to `high` if known.

    Args:
        label: what was measured.
        kind: reported, reproduced or third-party.
    """

    label: str
    value: float
    kind: str
    low: float = float("nan")
    high: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One card of the first screen.

    Args:
        key: its name.
        claim: one sentence.
        number: the value that carries it, as printed.
        about: what the number is, with its interval.
        axis: of the chart, with its unit.
        marks: the chart's values, from top to bottom.
        page: file of the view that proves it.
        query: of the view's address.
        is_log: whether the chart's axis is logarithmic.
    """

    key: str
    claim: str
    number: str
    about: str
    axis: str
    marks: tuple[Mark, ...]
    page: str
    query: dict[str, str] = field(default_factory=dict)
    is_log: bool = False


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The tables that findings are computed from.

    Args:
        runs: of `rd4ad.runs.index.read_index` at the runs' own scoring; None without runs.
        transistor: of the same, MVTec AD's transistor at every scoring; None without runs.
        published: as `rd4ad.runs.published.read_published` returns it.
        studies: results/published/rd4ad_studies.csv.
        costs: as `rd4ad.web.explorer.screens.complexity.table` returns it.
        agreement: rows of results/bench/agreement.json; empty without it.
    """

    runs: pd.DataFrame | None
    transistor: pd.DataFrame | None
    published: pd.DataFrame
    studies: pd.DataFrame
    costs: pd.DataFrame
    agreement: Sequence[Mapping[str, Any]]


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


def findings(evidence: Evidence, units: Units) -> list[Finding]:
    """Return the findings that the evidence supports, in the order of the first screen."""
    makers = (_table_2, _layers, _size, _definition, _cost, _agreement, _seeds, _average)
    found = (make(evidence, units) for make in makers)
    return [finding for finding in found if finding is not None]


@dataclass(frozen=True)
class _Cell:
    """Runs of one setting: their values, and how many there are."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))


def difference_over_seeds(
    first: Sequence[float], second: Sequence[float]
) -> tuple[float, float, float]:
    """Return the difference of two means, first minus second, and its 95% interval over seeds.

    Welch's interval; its ends are nan where one of the two is a single run.

    >>> tuple(round(x, 3) for x in difference_over_seeds([0.9, 0.92], [0.8, 0.82]))
    (0.1, 0.039, 0.161)
    """
    apart = float(np.mean(first) - np.mean(second))
    if min(len(first), len(second)) < 2:
        return apart, float("nan"), float("nan")
    from scipy.stats import ttest_ind  # half a second that the server's start has not

    low, high = ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    return apart, float(low), float(high)


def _main_backbone(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Return RD4AD's rows at the released scoring of the backbone with most runs over `keys`."""
    own = rows[rows["method"] == DEFAULT_METHOD]
    for name, value in _RELEASED.items():
        own = own[own[name] == value]
    own = own[own["epochs"] == own["epochs"].max()]
    if own.empty:
        return own
    wealth = own.groupby("backbone").apply(
        lambda mine: (len(mine[list(keys)].drop_duplicates()), len(mine)), include_groups=False
    )
    return own[own["backbone"] == wealth.idxmax()]


def _pair(
    evidence: Evidence, first: Mapping[str, Any], second: Mapping[str, Any]
) -> tuple[_Cell, _Cell, str, tuple[float, float]] | None:
    """Return pixel AUROC of two settings of transistor, the backbone, and the paper's two."""
    if evidence.transistor is None:
        return None
    rows = _main_backbone(evidence.transistor, ["layers", "size_px"])
    told = evidence.studies
    told = told[(told["study"] == "limitations") & (told["metric"] == "pixel_auroc")]
    cells, papers = [], []
    for setting in (first, second):
        mine, theirs = rows, told
        for name, value in setting.items():
            mine, theirs = mine[mine[name] == value], theirs[theirs[name] == value]
        if mine.empty or theirs.empty:
            return None
        cells.append(_Cell(tuple(mine["pixel_auroc"])))
        papers.append(float(theirs["value"].iloc[0]))
    return cells[0], cells[1], str(rows["backbone"].iloc[0]), (papers[0], papers[1])


def _paired(
    evidence: Evidence,
    units: Units,
    named: Mapping[str, Mapping[str, Any]],
    **told: Any,
) -> Finding | None:
    """Return the finding that the first setting beats the second on transistor, if it does."""
    (one, first), (other, second) = named.items()
    found = _pair(evidence, first, second)
    if found is None:
        return None
    better, worse, backbone, papers = found
    apart, low, high = difference_over_seeds(better.values, worse.values)
    if not low > 0:
        return None
    name, paper = BACKBONES.get(backbone, backbone), papers[0] - papers[1]
    n = min(len(better.values), len(worse.values))
    signed = f"{{:+.{units.digits}f}}".format
    return Finding(
        number=signed(apart * units.factor),
        about=f"pixel AUROC in {units.name}, {one} minus {other}; 95% interval "
        f"{signed(low * units.factor)} to {signed(high * units.factor)} over {n} seeds, {name}. "
        f"The paper: {signed(paper * units.factor)}, WR50.",
        axis=f"Pixel AUROC of transistor, {units.name}",
        marks=(
            Mark(f"{one}, paper", papers[0] * units.factor, "reported"),
            Mark(f"{other}, paper", papers[1] * units.factor, "reported"),
            _spread_mark(f"{one}, {name}", better, units),
            _spread_mark(f"{other}, {name}", worse, units),
        ),
        **told,
    )


def _spread_mark(label: str, cell: _Cell, units: Units) -> Mark:
    ends = (min(cell.values), max(cell.values)) if len(cell.values) > 1 else (np.nan, np.nan)
    return Mark(label, cell.mean * units.factor, "reproduced", *(x * units.factor for x in ends))


def _layers(evidence: Evidence, units: Units) -> Finding | None:
    return _paired(
        evidence,
        units,
        {
            "layer 3": {"layers": "3", "size_px": 256},
            "layers 1+2+3": {"layers": "1+2+3", "size_px": 256},
        },
        key="layers",
        claim="On transistor, the deepest layer alone beats all three layers together.",
        page="pages/ablations.py",
        query={"category": f"{MVTEC} / transistor"},
    )


def _size(evidence: Evidence, units: Units) -> Finding | None:
    return _paired(
        evidence,
        units,
        {
            "128 px": {"layers": "1+2+3", "size_px": 128},
            "256 px": {"layers": "1+2+3", "size_px": 256},
        },
        key="size",
        claim="On transistor, smaller images localize defects better than larger ones.",
        page="pages/limitations.py",
    )


def _definition(evidence: Evidence, units: Units) -> Finding | None:
    if evidence.transistor is None:
        return None
    rows = _main_backbone(evidence.transistor, ["layers", "size_px"])
    rows = rows[(rows["layers"] == "1+2+3") & (rows["size_px"] == rows["size_px"].max())]
    if rows.empty:
        return None
    run = rows.sort_values("seed").iloc[0]
    names = [name for name in METRIC_NAMES if name.startswith("aupro")]
    values = {METRIC_NAMES[name].removeprefix("PRO, "): float(run[name]) for name in names}
    spread = max(values.values()) - min(values.values())
    return Finding(
        key="definition",
        claim=f"One set of anomaly maps, {len(values)} values of PRO: the definition decides.",
        number=units.text(spread),
        about=f"{units.name} between the definitions, on the same maps of transistor "
        f"({BACKBONES.get(run['backbone'], run['backbone'])}, {run['size_px']} px, seed "
        f"{run['seed']}).",
        axis=f"PRO, {units.name}",
        marks=tuple(
            Mark(name, value * units.factor, "reproduced") for name, value in values.items()
        ),
        page="pages/pro_auditor.py",
        query={"run": str(run["run_id"])},
    )


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
    # Of each category the longest training, of its seeds the mean.
    own = own[own["epochs"] == own.groupby("category")["epochs"].transform("max")]
    means = own.groupby("category")["pixel_auroc"].agg(list)
    marks: list[Mark] = []
    close = []
    for category, values in sorted((str(name), values) for name, values in means.items()):
        if category not in reported.index:
            continue
        name = row_name(category)
        marks += [
            Mark(f"{name}, paper", float(reported[category]) * units.factor, "reported"),
            _spread_mark(f"{name}, this project", _Cell(tuple(values)), units),
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
