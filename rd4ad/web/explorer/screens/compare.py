"""A visitor's maps beside a stored run: what is printed of it, and the shelf that a link opens."""

import io
import secrets
import time
from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pandas as pd

from rd4ad.config import KEPT_SECONDS
from rd4ad.evaluation.beside_run import BY_TYPE, NO_LIMIT, Beside
from rd4ad.runs.run import Run
from rd4ad.scoring import IMAGE
from rd4ad.web.explorer.tables import METRIC_NAMES, Text, with_interval, with_sign

MAX_MIB = 100
"""Of a ZIP file."""
MOST_KEPT = 32  # comparisons, 2 MB each
MOST_LETTERS = 40
NAMES = METRIC_NAMES | {NO_LIMIT: "PRO, MVTec without limit"}


@dataclass(frozen=True)
class Shelved:
    """A comparison, what its maker called the maps, and when it goes (seconds since the epoch)."""

    found: Beside
    name: str
    ends: float


class Shelf:
    """Comparisons by an unguessable token; each goes after `KEPT_SECONDS`, the oldest before.

    >>> shelf = Shelf()
    >>> shelf.find("0" * 32, now=0.0)
    """

    def __init__(self) -> None:
        self._by_token: OrderedDict[str, Shelved] = OrderedDict()
        self._lock = Lock()

    def put(self, found: Beside, name: str, now: float | None = None) -> str:
        """Return the token under which a comparison is found again."""
        now, token = time.time() if now is None else now, secrets.token_hex(16)
        with self._lock:
            self._by_token[token] = Shelved(found, name, now + KEPT_SECONDS)
            self._drop(now)
        return token

    def find(self, token: str, now: float | None = None) -> Shelved | None:
        """Return a comparison; None if it was never there or is gone."""
        with self._lock:
            self._drop(time.time() if now is None else now)
            return self._by_token.get(token)

    def _drop(self, now: float) -> None:
        while self._by_token:
            oldest = next(iter(self._by_token))
            if len(self._by_token) <= MOST_KEPT and self._by_token[oldest].ends > now:
                return
            del self._by_token[oldest]


def name_of(text: str) -> str:
    """Return what a visitor calls the maps, short and without what Markdown would act on.

    >>> name_of("My *net* <b>"), name_of("  ")
    ('My net b', 'Your maps')
    """
    kept = "".join(sign for sign in text if sign.isalnum() or sign in " .+-")
    return " ".join(kept.split())[:MOST_LETTERS] or "Your maps"


def metrics_table(found: Beside, name: str, theirs: str, text: Text) -> pd.DataFrame:
    """Return every metric of both by definition, and their difference with its interval, as text.

    Args:
        found: the comparison.
        name: of the maps.
        theirs: of the run.
        text: prints a metric.
    """
    signed, rows = with_sign(text), []
    for row in found.metrics.dropna(subset="value").to_dict("records"):
        one = found.differences.get(row["metric"])
        said, verdict = "", ""
        if one is not None and one.second == one.second:
            said = signed(one.difference)
            if not one.reason:
                said += f" [{signed(one.ci_low)}, {signed(one.ci_high)}]"
                verdict = "yes" if one.is_distinguishable else "no"
        rows.append(
            {
                "Metric": NAMES[row["metric"]],
                "Definition": row["definition"],
                name: with_interval(row["value"], row["ci_low"], row["ci_high"], text),
                theirs: text(one.second) if one is not None and one.second == one.second else "",
                "Difference": said,
                "Distinguishable": verdict,
            }
        )
    return pd.DataFrame(rows)


def types_table(found: Beside, name: str, theirs: str, text: Text) -> pd.DataFrame:
    """Return metrics by defect type, each type against all normal images, as text."""
    table = pd.DataFrame(
        {
            "Defect type": found.by_type["defect_type"].str.replace("_", " "),
            "Images": found.by_type["n"],
        }
    )
    for metric in BY_TYPE:
        if found.by_type[metric].notna().any():
            for who, column in ((name, metric), (theirs, f"{metric}_run")):
                table[f"{METRIC_NAMES[metric]}, {who}"] = found.by_type[column].map(text)
    return table


def worst(found: Beside, count: int) -> pd.DataFrame:
    """Return the images that the maps rank worst: `wrong` of the `others` lie on the wrong side.

    For a defect, the normal images that score as high or higher; for a normal image, the defects
    that score as low or lower. `wrong_run` says the same of the run.
    """
    table = found.images.copy()
    is_defect = table["label"].to_numpy() == 1
    table["others"] = np.where(is_defect, (~is_defect).sum(), is_defect.sum())
    for column, name in (("score", "wrong"), ("score_run", "wrong_run")):
        scores = table[column].to_numpy()
        normal, defects = np.sort(scores[~is_defect]), np.sort(scores[is_defect])
        above = len(normal) - np.searchsorted(normal, scores, "left")
        table[name] = np.where(is_defect, above, np.searchsorted(defects, scores, "right"))
    table["share"] = table["wrong"] / table["others"].clip(lower=1)
    bad = table[table["wrong"] > 0].sort_values("share", ascending=False, kind="stable")
    return bad.head(count)


def verdict(found: Beside, name: str, theirs: str, text: Text) -> str:
    """Return the comparison in two sentences, the most telling metric first."""
    for metric in ("aupro", "pixel_auroc", "image_auroc"):
        one = found.differences.get(metric)
        if one is not None and one.first == one.first and not one.reason:
            break
    else:
        return "No metric of both can be compared."
    signed, title = with_sign(text), METRIC_NAMES[metric]
    said = f"**{title}: {text(one.first)}** ({name}) against **{text(one.second)}** ({theirs})"
    ends = f"95% interval of the difference {signed(one.ci_low)} to {signed(one.ci_high)}"
    if not one.is_distinguishable:
        return f"{said}. These test images do not tell the two apart: {ends}."
    order = "higher" if one.difference > 0 else "lower"
    return f"{said}, {text(abs(one.difference))} {order}; {ends}."


def example(run: Run) -> bytes:
    """Return a ZIP file of maps as a visitor would send it: those of the run's deepest layer."""
    distances = {layer: maps for layer, maps in run.distances().items() if layer != IMAGE}
    file = io.BytesIO()
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, one in zip(run.images()["image"], distances[max(distances)], strict=True):
            content = io.BytesIO()
            np.save(content, one)
            target = str(name).removeprefix("test/").rpartition(".")[0] + ".npy"
            archive.writestr(f"maps/{target}", content.getvalue())
    return file.getvalue()
