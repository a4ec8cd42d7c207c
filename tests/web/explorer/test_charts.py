import numpy as np
import pandas as pd
import pytest

from rd4ad.web.explorer import charts, cost_charts, style
from rd4ad.web.explorer.screens import complexity

IMAGES = pd.DataFrame(
    {
        "label": [0, 0, 1, 1, 1],
        "defect_type": ["good", "good", "cut_lead", "misplaced", "misplaced"],
        "score": [0.1, 0.2, 0.4, 0.8, 0.9],
    }
)
CURVE = pd.DataFrame(
    {"x": [0.0, 0.1, 0.5, 1.0], "y": [0.0, 0.6, 0.9, 1.0], "threshold": [np.inf, 0.8, 0.4, 0.1]}
)


def test_the_shaded_area_ends_at_the_limit():
    shaded = charts.curve_chart("pro", {"run": CURVE}, limit=0.3).data[0]
    assert shaded.fill == "tozeroy"
    assert max(shaded.x) == 0.3
    assert shaded.y[-1] == pytest.approx(0.75)


@pytest.mark.parametrize(("threshold", "point"), [(2.0, 0.0), (0.8, 0.1), (0.5, 0.1), (0.05, 1.0)])
def test_a_threshold_is_marked_at_the_last_point_that_it_detects(threshold, point):
    marked = charts.curve_chart("pro", {"run": CURVE}, at=threshold).data[-1]
    assert marked.x[0] == point


def test_hovering_tells_the_threshold():
    drawn = charts.curve_chart("image_roc", {"run": CURVE}).data[0]
    assert "threshold" in drawn.hovertemplate
    assert list(drawn.customdata) == pytest.approx(list(CURVE["threshold"]))


def test_a_histogram_counts_every_image_once():
    for by_type, n_groups in ((False, 2), (True, 3)):
        drawn = charts.histogram(IMAGES, by_type=by_type, threshold=0.3)
        assert len(drawn.data) == n_groups
        assert sum(sum(bars.y) for bars in drawn.data) == len(IMAGES)


def test_small_multiples_have_a_panel_a_category():
    drawn = charts.small_histograms({"tile": IMAGES, "metal_nut": IMAGES})
    assert [note.text for note in drawn.layout.annotations] == ["tile", "metal nut"]


def test_a_band_lies_behind_the_line_of_several_seeds():
    x = np.linspace(0, 1, 5)
    curve = pd.DataFrame({"x": x, "y": x, "threshold": 1 - x, "low": x / 2, "high": x})
    drawn = charts.curve_chart("image_roc", {"two": curve, "one": curve.assign(low=x)})
    filled = [trace for trace in drawn.data if trace.fill == "toself"]
    assert len(filled) == 1
    assert max(filled[0].y) == 1


def test_every_axis_has_a_title_with_its_unit():
    cells = pd.DataFrame({"value": [0.9], "method": ["RD4AD"], "kind": ["reported"]})
    table = pd.DataFrame({"a": [0.5, 0.6]}, index=[128, 256])
    for drawn in (
        charts.histogram(IMAGES),
        *(charts.curve_chart(kind, {"run": CURVE}) for kind in charts.CURVES),
        charts.lines(table, table, x_title="Image size, px", y_title="AUROC, percent", factor=100),
    ):
        assert drawn.layout.xaxis.title.text
        assert drawn.layout.yaxis.title.text
    assert charts.dots(cells, ["RD4AD 256"], 100, "percent").layout.xaxis.title.text == "percent"


def test_kinds_of_metrics_differ_by_their_mark_and_methods_by_shape_too():
    cells = pd.DataFrame(
        {
            "value": [0.9, 0.8, 0.7],
            "method": ["RD4AD", "RD4AD", "PaDiM"],
            "kind": ["reported", "reproduced", "third-party"],
        }
    )
    symbols = charts.dots(cells, ["a", "b", "c"], 1, "fraction").data[0].marker.symbol
    assert set(symbols) == {"circle-open", "circle", "square-dot"}


def test_every_method_has_a_color_and_a_shape_of_its_own():
    assert len(set(style.COLORS.values())) == len(style.COLORS) == 10
    assert len(set(style.MARKERS.values())) == len(style.MARKERS) == 10


def test_costs_of_papers_and_of_this_host_stand_side_by_side():
    paper = {"backbone": "wide_resnet50_2", "host": "Intel i7", "kind": "reported", "source": "a"}
    published = pd.DataFrame(
        [{"method": "SPADE", "seconds_per_image": 1.4, "memory_mb": 1400.0, "pixel_auroc": 0.965,
          **paper},
         {"method": "RD4AD", "seconds_per_image": 0.35, "memory_mb": 350.0, "pixel_auroc": 0.978,
          **paper},
         {"method": "PaDiM", "seconds_per_image": 1.0, **paper, "source": "b"}]
    )  # fmt: skip
    ours = [
        {"method": "reverse_distillation", "backbone": "resnet18", "size_px": 256,
         "seconds_per_image": 0.1, "memory_mb": 90, "kind": "reproduced", "host": "here"},
        {"method": "riad", "backbone": "none", "size_px": 256, "seconds_per_image": 0.4,
         "seconds_ratio": 3.9, "memory_mb": 90, "kind": "reproduced", "host": "here",
         "pixel_auroc": 0.9},
    ]  # fmt: skip
    table = complexity.table(published, ours)
    assert table["label"].tolist() == [
        "SPADE WR50", "RD4AD WR50", "PaDiM WR50", "RD4AD R18 256 px", "RIAD 256 px",
    ]  # fmt: skip
    assert table["host"].tolist() == ["Intel i7"] * 3 + ["here"] * 2
    assert table["seconds_ratio"].tolist()[:2] == pytest.approx([4, 1])
    assert table["seconds_ratio"].isna().tolist()[2:4] == [True, True]  # no RD4AD of that source
    assert table["memory_ratio"].tolist()[:2] == pytest.approx([4, 1])
    said = complexity.ratios_in_words(complexity.relative(table, 256))
    assert said == "RIAD 256 px 3.9 ×, SPADE WR50 4.0 ×"
    drawn = cost_charts.frontier(table, y="pixel_auroc", y_title="Pixel AUROC", factor=100)
    marks = [trace for trace in drawn.data if trace.mode != "lines"]
    symbols = [trace.marker.symbol for trace in marks]  # without quality there is no mark
    assert symbols == ["diamond-open", "circle-open", "triangle-down"]
    assert "SPADE WR50: 1.4 s, 0.965" in complexity.in_words(table, "pixel_auroc", "{:.3f}".format)


def test_a_chart_of_many_curves_stays_small():
    x = np.linspace(0, 1, 500)
    curve = pd.DataFrame({"x": x, "y": np.sqrt(x), "threshold": 1 - x})
    drawn = charts.curve_chart("pro", {f"run {i}": curve for i in range(24)}, limit=0.3)
    assert len(drawn.to_json()) < 2_000_000


def test_lines_have_bars_of_their_spread_where_it_is_known():
    table = pd.DataFrame({"a": [0.5, 0.6], "b": [0.7, np.nan]}, index=[128, 256])
    spread = pd.DataFrame({"a": [0.01, np.nan], "b": [np.nan, np.nan]}, index=[128, 256])
    drawn = charts.lines(table, spread, x_title="Size, px", y_title="Percent", factor=100)
    assert [tuple(line.error_y.array) for line in drawn.data] == [(1.0, 0.0), (0.0, 0.0)]
    assert [line.connectgaps for line in drawn.data] == [False, False]
