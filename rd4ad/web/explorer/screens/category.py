"""One category's runs by setting: seeds together, as mean, spread and band of curves."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from rd4ad.web.explorer.run_text import setting_label
from rd4ad.web.explorer.tables import METRIC_NAMES, Text, with_interval

MAIN_METRICS = ("image_auroc", "pixel_auroc", "aupro", "aupro_per_image")
_N_POINTS = 300  # of a band of curves


def by_setting(runs: pd.DataFrame) -> dict[str, list[str]]:
    """Return the ids of the runs that differ by seed alone, by what they share, in their order.

    >>> row = {"method": "padim", "backbone": "resnet18", "size_px": 256, "epochs": 0.0,
    ...        "variant": ""}
    >>> by_setting(pd.DataFrame([row | {"run_id": "a"}, row | {"run_id": "b"}]))
    {'PaDiM R18 256 px': ['a', 'b']}

    Args:
        runs: of one category, as `rd4ad.web.explorer.index_cache.measured` returns them.
    """
    found: dict[str, list[str]] = {}
    for row in runs.to_dict("records"):
        found.setdefault(setting_label(row), []).append(str(row["run_id"]))
    return found


def one_a_method(runs: pd.DataFrame) -> list[str]:
    """Return the first setting of each method, in the runs' order."""
    return [setting_label(row) for row in runs.drop_duplicates("method").to_dict("records")]


def band(curves: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Return the mean of curves over their common axis, and the lowest and highest of them.

    >>> one, two = (pd.DataFrame({"x": [0.0, 1.0], "y": [0.0, y], "threshold": [1.0, 0.0]})
    ...             for y in (0.5, 1.0))
    >>> band([one, two])[["x", "y", "low", "high"]].iloc[-1].tolist()
    [1.0, 0.75, 0.5, 1.0]

    Args:
        curves: `x`, `y` and `threshold`, x ascending; one is returned as it is, its own band.
    """
    if len(curves) == 1:
        return curves[0].assign(low=curves[0]["y"], high=curves[0]["y"])
    first = max(float(one["x"].min()) for one in curves)
    last = min(float(one["x"].max()) for one in curves)
    # Denser at the left, where the curves of a good detector rise.
    x = first + (last - first) * np.linspace(0, 1, _N_POINTS) ** 3
    every = np.stack([np.interp(x, one["x"], one["y"]) for one in curves])
    thresholds = np.mean([np.interp(x, one["x"], one["threshold"]) for one in curves], axis=0)
    return pd.DataFrame(
        {
            "x": x,
            "y": every.mean(axis=0),
            "threshold": thresholds,
            "low": every.min(axis=0),
            "high": every.max(axis=0),
        }
    )


def settings_table(runs: pd.DataFrame, text: Text) -> pd.DataFrame:
    """Return the main metrics of every setting as text, one row a setting.

    Mean ± standard deviation over seeds; of a single run its 95% interval over test images.

    Args:
        runs: of one category, as `rd4ad.web.explorer.index_cache.measured` returns them.
        text: prints one metric.
    """
    rows = []
    for label, names in by_setting(runs).items():
        mine = runs[runs["run_id"].isin(names)]
        row: dict[str, object] = {"Setting": label, "Seeds": mine["seed"].nunique()}
        for metric in MAIN_METRICS:
            row[METRIC_NAMES[metric]] = _printed(mine, metric, text)
        rows.append(row)
    return pd.DataFrame(rows)


def _printed(runs: pd.DataFrame, metric: str, text: Text) -> str:
    values = runs[metric].dropna()
    if len(values) > 1:
        return f"{text(values.mean())} ± {text(values.std())}"
    row = runs.iloc[0]
    return with_interval(row[metric], row[f"{metric}_ci_low"], row[f"{metric}_ci_high"], text)


def without_runs(panels: Mapping[str, pd.DataFrame | None]) -> str:
    """Return the categories that have no run, in words; empty if all have one.

    >>> without_runs({"tile": None, "metal_nut": None, "pill": pd.DataFrame()})
    'Without a run: tile, metal nut.'
    """
    missing = [name.replace("_", " ") for name, images in panels.items() if images is None]
    return f"Without a run: {', '.join(missing)}." if missing else ""
