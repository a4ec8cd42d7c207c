"""One-class novelty as the page shows it: every class as the normal one in turn; no Streamlit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.io.formats.style import Styler

from rd4ad import metrics
from rd4ad.catalogue import entry_of, title_of
from rd4ad.config import LOSS_NAMES
from rd4ad.data.one_class import NOVELTY_SETS, PROTOCOL, TITLES, set_named
from rd4ad.runs.published import average
from rd4ad.runs.run import Run
from rd4ad.scoring import layers_name
from rd4ad.web.explorer.style import BACKBONES, KIND_MARKS
from rd4ad.web.explorer.tables import BEST, HEAT, MARK, Text, with_interval

_NORMALIZED = {"imagenet": "normalized as for ImageNet", "none": "not normalized"}
_THUMBNAIL = 3  # times its size: 28 px are too few to see
_UNKNOWN = "The paper's metric could not be confirmed."
_ABSENT = "Not measured here."


@dataclass(frozen=True)
class Study:
    """The runs of one dataset at one setting.

    Args:
        dataset: its title.
        setting: in words.
        runs: by normal class, in the order of the labels.
    """

    dataset: str
    setting: str
    runs: dict[str, Run]

    @property
    def is_whole(self) -> bool:
        """Whether every class was measured, on all images."""
        classes = set_named(TITLES[self.dataset]).classes
        return len(self.runs) == len(classes) and "images" not in self.setting


def setting_of(run: Run) -> str:
    """Return all that sets a run apart from another of the same class, in words."""
    record, config = run.record, run.record["config"]
    said = [
        f"{title_of(record['method'])} {BACKBONES.get(record['backbone'], record['backbone'])}",
        f"layers {layers_name(config['layers'])}",
        f"{config['epochs']} epochs",
        _NORMALIZED[config["normalisation"]],
        f"seed {record['seed']}",
    ]
    if config["batch_size"] != PROTOCOL["batch_size"]:
        said.append(f"batches of {config['batch_size']}")
    if config["learning_rate"] != entry_of(record["method"]).learning_rate:
        said.append(f"learning rate {config['learning_rate']:g}")
    if config["loss"] != LOSS_NAMES[0]:
        said.append(f"{config['loss']} loss".replace("_", " "))
    if "precision" in config:  # float32 goes unsaid in a record
        said.append(config["precision"])
    limits = {"training": config["n_train"], "test": config["n_test"]}
    said += [f"{n} {split} images" for split, n in limits.items() if n]
    if config["n_held_out"]:
        said.append(f"{config['holdout']:g} held out")
    return ", ".join(said)


def studies(runs: Sequence[Run]) -> list[Study]:
    """Return the runs by dataset and setting: those of most classes, on all images, first."""
    grouped: dict[tuple[str, str], dict[str, Run]] = {}
    for run in runs:
        key = run.record["dataset"], setting_of(run)
        grouped.setdefault(key, {})[run.record["category"]] = run
    found = [
        Study(dataset, setting, {c: mine[c] for c in _classes(dataset) if c in mine})
        for (dataset, setting), mine in grouped.items()
    ]
    titles = list(TITLES)
    return sorted(
        found,
        key=lambda s: (titles.index(s.dataset), not s.is_whole, -len(s.runs), s.setting),
    )


def _classes(dataset: str) -> tuple[str, ...]:
    return set_named(TITLES[dataset]).classes


def metric(run: Run, metric: str) -> "pd.Series[Any]":
    """Return the row of one of a run's metrics at its own scoring."""
    own = run.metrics[run.metrics["is_default"] & (run.metrics["metric"] == metric)]
    return own.iloc[0]


@dataclass(frozen=True)
class Mean:
    """Mean image AUROC over all classes; refused, with the reason, where one is missing."""

    value: float
    sd: float
    lowest: str
    reason: str


def mean_of(study: Study) -> Mean:
    """Return the mean of a study over its dataset's classes and their standard deviation."""
    values = {name: float(metric(run, "image_auroc")["value"]) for name, run in study.runs.items()}
    rows = pd.DataFrame({"category": values.keys(), "value": values.values(), "kind": "reproduced"})
    lowest = min(values, key=values.__getitem__)
    try:
        mean = average(rows, _classes(study.dataset))
    except ValueError as error:
        return Mean(float("nan"), float("nan"), lowest, str(error))
    return Mean(mean, float(rows["value"].std()), lowest, "")


def overview(found: Sequence[Study], published: pd.DataFrame, text: Text) -> pd.DataFrame:
    """Return a row a dataset: what the paper reports, what was measured, and how.

    Args:
        found: see `studies`; the first of each dataset is taken.
        published: results/published/rd4ad_studies.csv.
        text: prints one metric.
    """
    told = published[(published["study"] == "novelty") & (published["metric"] == "image_auroc")]
    reported = dict(zip(told["dataset"], told["value"], strict=True))
    rows = []
    for chosen in NOVELTY_SETS.values():
        study = next((s for s in found if s.dataset == chosen.title), None)
        notes = [chosen.note or ("" if chosen.title in reported else _UNKNOWN)]
        ours, setting = "–", "–"
        if study is None:
            notes.append(_ABSENT)
        else:
            mean = mean_of(study)
            setting = study.setting
            ours = f"{text(mean.value)} ± {text(mean.sd)}" if not mean.reason else "–"
            notes.append(mean.reason)
        told_of = " ".join(filter(None, notes))
        rows.append((chosen.title, text(reported.get(chosen.title)), ours, setting, told_of))
    columns = ["Dataset", f"{KIND_MARKS['reported']} Paper", f"{KIND_MARKS['reproduced']} Ours",
               "Setting", "Note"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def class_table(study: Study, images: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return a row a normal class: its metrics, fractions, and which other class looks most normal.

    Args:
        study: whose runs.
        images: the test images of each run by normal class.
    """
    rows = {}
    for name, run in study.runs.items():
        auroc = metric(run, "image_auroc")
        pairs = pairwise(name, images[name])
        nearest = min(pairs, key=pairs.__getitem__) if pairs else ""
        rows[name] = {
            **auroc[["value", "ci_low", "ci_high"]],
            "ap": metric(run, "image_ap")["value"],
            "f1_max": metric(run, "image_f1_max")["value"],
            "nearest": nearest,
            "against_nearest": pairs.get(nearest, np.nan),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def styled_classes(table: pd.DataFrame, text: Text) -> Styler:
    """Return `class_table` with readable headers, metrics in the chosen units."""
    shown = pd.DataFrame(
        {
            "Image AUROC": [
                with_interval(value, low, high, text)
                for value, low, high in zip(
                    table["value"], table["ci_low"], table["ci_high"], strict=True
                )
            ],
            "Image AP": table["ap"].map(text).tolist(),
            "Image F1-max": table["f1_max"].map(text).tolist(),
            "Looks most normal": [named(name) for name in table["nearest"]],
            "AUROC over it": table["against_nearest"].map(text).tolist(),
        },
        index=[named(name) for name in table.index],
    )
    best = table["value"].to_numpy() == table["value"].max()
    shown.loc[best, "Image AUROC"] = MARK + " " + shown.loc[best, "Image AUROC"]
    look = pd.DataFrame("", shown.index, shown.columns)
    look.loc[best, "Image AUROC"] = BEST
    return shown.style.apply(lambda _: look, axis=None)


def named(of_class: str) -> str:
    """Return a class as pages write it.

    >>> named("ankle_boot")
    'Ankle boot'
    """
    return of_class.replace("_", " ").capitalize()


def pairwise(normal: str, images: pd.DataFrame) -> dict[str, float]:
    """Return the image AUROC of the normal class against every other one by itself.

    >>> table = pd.DataFrame({"defect_type": ["a", "b", "c"], "score": [1.0, 2.0, 0.5]})
    >>> pairwise("a", table)
    {'b': 1.0, 'c': 0.0}
    """
    scores = {str(name): rows["score"].to_numpy() for name, rows in images.groupby("defect_type")}
    own = scores.pop(normal, np.empty(0))
    return {
        name: metrics.image_auroc(np.repeat([0, 1], [len(own), len(others)]), np.r_[own, others])
        for name, others in scores.items()
        if len(own)
    }


def matrix(images: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return `pairwise` of every normal class as a row; undefined against itself."""
    return pd.DataFrame.from_dict(
        {name: pairwise(name, table) for name, table in images.items()}, orient="index"
    ).sort_index(axis=1)


def styled_matrix(table: pd.DataFrame, text: Text) -> Styler:
    """Return `matrix` darkest where classes are distinguished worst, that of each row bold."""
    low = float(np.nanmin(table)) if table.notna().any(axis=None) else 0.0
    share = (1 - table) / ((1 - low) or 1)
    lowest = table.eq(table.min(axis=1), axis=0)
    look = share.map(lambda s: "" if pd.isna(s) else HEAT.format(0.45 * s))
    look = look + lowest.map(lambda is_lowest: f";{BEST}" if is_lowest else "")
    shown, look = (frame.rename(named).rename(columns=named) for frame in (table, look))
    return shown.style.format(text, na_rep="–").apply(lambda _: look, axis=None)


def by_score(study: Study) -> pd.DataFrame:
    """Return the mean AUROC over a study's classes by layers (rows) and by score, fractions.

    The sum is of the unsmoothed map; the maximum is of the map smoothed as its column says.
    """
    rows = pd.concat([run.metrics for run in study.runs.values()])
    of_sum = rows[rows["metric"] == "image_auroc"].assign(score="sum")
    of_max = rows[rows["metric"] == "image_auroc_of_max"]
    of_max = of_max.assign(score="max, " + of_max["smoothing"].map("{:g} px".format))
    both = pd.concat([of_sum, of_max])
    table = both.pivot_table(index="layers", columns="score", values="value", sort=False)
    return table.loc[sorted(table.index, key=lambda name: (len(name), name))]


def across_settings(found: Sequence[Study]) -> pd.DataFrame:
    """Return image AUROC by class (rows) and setting (columns), fractions."""
    return pd.DataFrame(
        {
            study.setting: {
                named(name): float(metric(run, "image_auroc")["value"])
                for name, run in study.runs.items()
            }
            for study in found
        }
    )


@dataclass(frozen=True)
class Fooled:
    """The images that the score misjudges most: the most novel normals, the least novel others."""

    normals: pd.DataFrame
    others: pd.DataFrame


def fooled(images: pd.DataFrame, at_most: int = 10) -> Fooled:
    """Return the rows of the images that fool a run's score, worst first."""
    normals, others = images[images["label"] == 0], images[images["label"] == 1]
    return Fooled(
        normals.sort_values("score", ascending=False).head(at_most),
        others.sort_values("score").head(at_most),
    )


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a small image enlarged with its pixels kept square."""
    return image.repeat(_THUMBNAIL, axis=0).repeat(_THUMBNAIL, axis=1)


def in_words(table: pd.DataFrame, text: Text) -> str:
    """Return the metrics of `class_table` for those who cannot see a chart of them."""
    pairs = table["value"].items()
    return "; ".join(f"{named(str(name))} {text(value)}" for name, value in pairs)
