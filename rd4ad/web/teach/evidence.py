"""What more photos buy, measured on real parts: shown before anybody uploads one."""

import pandas as pd
import streamlit as st

from rd4ad.web.explorer import charts, index_cache, widgets
from rd4ad.web.explorer.units import Units

METRICS = {"image_auroc": "Image AUROC", "pixel_auroc": "Pixel AUROC", "aupro": "PRO"}


def read() -> pd.DataFrame | None:
    """Return results/teach/photos.csv; None where nothing is measured."""
    path = index_cache.RESULTS / "teach" / "photos.csv"
    if not path.is_file():
        return None
    table = pd.read_csv(path)
    has_all = table["n_photos"] == table.groupby("category")["n_photos"].transform("max")
    counts = table["n_photos"].astype(str).mask(has_all, "all")
    order = [*map(str, sorted(table.loc[~has_all, "n_photos"].unique())), "all"]
    return table.assign(photos=pd.Categorical(counts, order, ordered=True))


def show(units: Units) -> None:
    """Show metrics by number of photos, and whether false alarms stayed at what was asked."""
    table = read()
    if table is None:
        return
    st.subheader("How many photos does it take?")
    metric = widgets.pick(
        "Metric", METRICS, "photos_metric", "Draws another metric of the same detectors."
    )
    by_count = table.groupby(["photos", "category"], observed=True)[metric]
    mean, spread = by_count.mean().unstack(), by_count.std().unstack()
    left, right = st.columns([3, 2])
    with left:
        widgets.show(
            charts.lines(
                mean, spread, x_title="Photos of good parts", y_title=f"{METRICS[metric]}, "
                f"{units.name}", factor=units.factor,
            ),
            f"{METRICS[metric]} by number of photos",
            "photos_chart",
        )  # fmt: skip
    with right:
        st.dataframe(_false_alarms(table), hide_index=True, width="stretch", placeholder="–")
        st.caption(
            "False alarms on the test sets' good parts, all draws together, at a threshold set for "
            "1 in 100 from the photos alone; at most: the 95% limit that the page stated."
        )
    st.caption(
        f"Memory of patches on MVTec AD's whole test sets, teacher {table['backbone'].iloc[0]}, "
        f"{table['size_px'].iloc[0]} px: mean and standard deviation of three draws of photos, and "
        "all photos once. Measured by this project; no test image chose anything. Rerun: "
        "`python benchmarks/teach.py photos`."
    )


def _false_alarms(table: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for count, some in table.groupby("photos", observed=True):
        rows.append(
            {
                "photos": count,
                "false alarms": f"{some['n_false_alarms'].sum()} of {some['n_normal'].sum()}",
                "at most, %": round(100 * some["rate_at_most"].max(), 1),
                "defects found, %": round(100 * some["share_found"].mean(), 1),
            }
        )
    return pd.DataFrame(rows)
