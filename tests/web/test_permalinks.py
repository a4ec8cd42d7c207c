"""Permalinks made by earlier versions still open."""

import sys

import pytest
from streamlit.testing.v1 import AppTest

from rd4ad.home import HOME


@pytest.fixture
def opened(monkeypatch):
    """Opens a page of the explorer by a permalink; the repository's own results are behind it."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # as in conftest

    def open_page(page, **query):
        test = AppTest.from_file(str(HOME / "app.py"), default_timeout=60).run()
        for name, value in query.items():
            test.query_params[name] = value
        if page != "app.py":
            test.switch_page(page)
        return test.run()

    return open_page


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("app.py", {"metric": "pro", "at": "Transistor|○ RD4AD 256"}),
        ("pages/category.py", {"category": "Bottle", "curve": "pro", "units": "fraction"}),
        ("pages/ablations.py", {"across": "Image size, px", "figure": "PRO, MVTec at 0.3"}),
        ("pages/ablations.py", {"across": "Training besides"}),
        ("pages/ablations.py", {"down": "Epochs", "hold_variant_epochs_size_px": "usual"}),
        ("pages/limitations.py", {"layers": "3", "sigma": "2.0"}),
        ("pages/threshold.py", {"threshold": "0.3", "view": "Map"}),
    ],
)  # fmt: skip
def test_an_earlier_permalink_opens(page, query, opened):
    test = opened(page, **query)
    assert not test.exception
    assert test.title[0].value


def test_a_renamed_choice_of_an_earlier_permalink_is_the_present_one(opened):
    test = opened("pages/ablations.py", across="Training besides")
    assert "Training configuration" in test.query_params["across"]


def test_a_link_to_the_first_screen_of_the_leaderboard_opens_the_leaderboard(opened):
    test = opened("app.py", metric="PRO", at="transistor|○ RD4AD 256 · not stated")
    assert test.title[0].value == "Leaderboard"


def test_a_column_of_an_earlier_link_is_the_present_one(opened):
    test = opened("pages/leaderboard.py", at="transistor|○ RD4AD 256", first="○ SPADE 256")
    assert "○ RD4AD WR50 256" in test.query_params["at"]
    assert test.selectbox("first").value == "○ SPADE WR50 256"
    assert any("RD4AD WR50 256 · Transistor" in text.value for text in test.markdown)
