import io

import pandas as pd
import plotly.graph_objects as go
import pytest

from rd4ad.web.explorer import downloads
from rd4ad.web.explorer.units import FRACTION, PERCENT

TABLE = pd.DataFrame({"○ A_1": [0.981, 0.5], "B & C": [0.97, float("nan")]}, index=["tile", "avg"])
BEST = pd.DataFrame({"○ A_1": [True, False], "B & C": [False, False]}, index=["tile", "avg"])


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1"])
def test_text_that_a_spreadsheet_would_run_is_quoted(text):
    cell = pd.read_csv(io.BytesIO(downloads.csv(pd.DataFrame({"name": [text]}))))["name"].item()
    assert cell == f"'{text}"


def test_a_column_named_like_a_formula_is_quoted_too():
    assert downloads.csv(pd.DataFrame({"=A1": [1]})).decode().startswith("'=A1")


def test_negative_numbers_stay_numbers():
    frame = pd.DataFrame({"difference": [-0.5]})
    assert pd.read_csv(io.BytesIO(downloads.csv(frame)))["difference"].item() == -0.5


def test_csv_and_parquet_hold_what_is_shown():
    csv = pd.read_csv(io.BytesIO(downloads.csv(TABLE)), index_col="category")
    parquet = pd.read_parquet(io.BytesIO(downloads.parquet(TABLE))).set_index("category")
    pd.testing.assert_frame_equal(csv, TABLE, check_names=False)
    pd.testing.assert_frame_equal(parquet, TABLE, check_names=False)


def test_markdown_marks_the_best():
    assert "| tile | **98.1** | 97.0 |" in downloads.markdown(TABLE, BEST, PERCENT.text)


def test_latex_uses_booktabs_and_bold_and_escapes():
    text = downloads.latex(TABLE, BEST, FRACTION.text)
    assert r"\toprule" in text
    assert r"\midrule" in text
    assert r"\bottomrule" in text
    assert r"tile & \textbf{0.981} & 0.970 \\" in text
    assert r"$\circ$ A\_1 & B \& C" in text
    assert r"avg & 0.500 & -- \\" in text


def test_the_citation_is_the_papers():
    assert "Deng, Hanqiu and Li, Xingyu" in downloads.BIBTEX
    assert downloads.BIBTEX.count("{") == downloads.BIBTEX.count("}")


def test_the_data_of_a_chart_has_a_row_a_point():
    chart = go.Figure(go.Bar(name="tile", x=[1, 2], y=[3, 4]))
    assert downloads.chart_csv(chart).decode().splitlines() == [
        "series,x,y",
        "tile,1,3",
        "tile,2,4",
    ]
    grid = go.Figure(go.Heatmap(x=["128", "256"], y=["1"], z=[[0.5, 0.75]]))
    assert downloads.chart_csv(grid).decode().splitlines()[1:] == [",128,1,0.5", ",256,1,0.75"]
