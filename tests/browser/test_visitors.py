"""Three visitors and their questions from the first screen: a reviewer, a researcher, an engineer.

Each answer is at most three clicks away. Then what a visitor without a mouse or with poor sight
needs, as far as axe-core can tell.
"""

import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import LONG_MS
from tests.browser.test_explorer import HOME_HEADING, PAGES

pytestmark = pytest.mark.browser
WIDE = {"viewport": {"width": 1440, "height": 1200}}


@pytest.fixture(scope="module")
def explorer(running):
    with running("-m", "rd4ad.cli", "serve") as url:
        yield url


def test_the_first_screen_shows_findings_with_their_evidence(explorer, watched):
    page = watched(**WIDE).open(explorer, HOME_HEADING)
    cards = page.locator("[class*=st-key-finding-]")
    expect(cards.first).to_be_visible()
    assert 6 <= cards.count() <= 9
    for number in range(cards.count()):
        expect(cards.nth(number).get_by_role("link", name="See the evidence")).to_be_visible()
        expect(cards.nth(number).locator(".js-plotly-plot")).to_be_visible()


def test_the_line_between_photo_and_heatmap_moves_by_keys_and_mouse(explorer, watched):
    page = watched(**WIDE).open(explorer, HOME_HEADING)
    line = page.get_by_role("slider", name="Share of the photo shown, defective part")
    line.focus()
    line.press("End")
    expect(line).to_have_value("100")
    shown = page.locator(".pair").nth(1)
    assert "100%" in shown.get_attribute("style")
    box = shown.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    assert 20 <= int(line.input_value()) <= 30


def test_a_reviewer_finds_whether_table_2_holds(explorer, watched):
    one = watched(**WIDE)
    page = one.open(explorer, HOME_HEADING)
    page.locator(".st-key-finding-table_2").get_by_role("link", name="See the evidence").click()
    page.get_by_role("heading", name="Leaderboard", exact=True).wait_for(timeout=LONG_MS)
    expect(page.get_by_role("radio", name="reported against reproduced")).to_be_checked()
    one.settle()
    expect(page.get_by_text("Difference: reproduced minus reported")).to_be_visible()


def test_a_reviewer_sees_how_transistor_fails(explorer, watched):
    one = watched(**WIDE)
    page = one.open(explorer, HOME_HEADING)
    page.get_by_role("link", name="Why transistor fails").click()
    page.get_by_role("heading", name="Limitations", exact=True).wait_for(timeout=LONG_MS)
    one.settle()
    for said in ("Photo and mask", "Layers 1+2+3, sum", "Layer 3 alone"):
        expect(page.get_by_text(said).first).to_be_visible()


def test_a_reviewer_sees_whether_it_is_faster_and_which_pro_was_used(explorer, watched):
    one = watched(**WIDE)
    page = one.open(explorer, HOME_HEADING)
    page.get_by_role("link", name="Time and memory").click()
    page.get_by_role("heading", name="Complexity", exact=True).wait_for(timeout=LONG_MS)
    expect(page.get_by_text("Cost relative to RD4AD")).to_be_visible()
    page.get_by_role("link", name="PRO auditor").click()
    expect(page.get_by_text("Which definition did this paper use?")).to_be_visible()
    one.settle()
    page.get_by_role("button", name="Load an example").click()
    expect(page.get_by_role("combobox", name="Category")).to_have_value(re.compile("Generated"))


def test_a_researcher_compares_layers_and_sizes_with_pictures_within_two_clicks(explorer, watched):
    one = watched(**WIDE)
    page = one.open(explorer, HOME_HEADING)
    page.get_by_role("link", name="Layers and resolutions").click()
    page.get_by_role("heading", name="Ablations", exact=True).wait_for(timeout=LONG_MS)
    one.settle()
    for said in ("Layers 1+2+3 · Image size, px 128", "Layers 3 · Image size, px 256"):
        expect(page.get_by_text(said)).to_be_visible()
    expect(page.get_by_test_id("stImage")).to_have_count(4)


def test_a_researcher_sees_differences_from_a_cell_and_takes_them_to_a_paper(explorer, watched):
    one = watched(**WIDE)
    page = one.open(f"{explorer}/ablations?reference=1%2B2%2B3+%C2%B7+256", "Ablations")
    expect(page.get_by_text("Values: difference from 1+2+3 · 256")).to_be_visible()
    page.get_by_text("Copy as LaTeX").click()
    expect(page.get_by_text(r"\toprule")).to_be_visible()


def test_a_fixed_setting_is_a_chip_that_changes_the_grid(explorer, watched):
    one = watched(**WIDE)
    page = one.open(f"{explorer}/ablations", "Ablations")
    page.get_by_role("button", name="Fusion: sum").click()
    page.get_by_role("combobox", name="Fusion").click()
    page.get_by_role("option", name="product").click()
    expect(page.get_by_role("button", name="Fusion: product")).to_be_visible()


def test_an_engineer_is_two_clicks_from_a_heatmap_of_another_example(explorer, watched):
    page = watched(**WIDE).open(explorer, HOME_HEADING)
    page.get_by_role("link", name="Live heatmap").click()
    page.get_by_role("heading", name="Live", exact=True).wait_for(timeout=LONG_MS)
    live = page.frame_locator("iframe")
    live.get_by_text("score ").first.wait_for(timeout=LONG_MS)
    live.get_by_role("button", name="Example: nut chipped").click()
    live.get_by_text("detector nut").wait_for(timeout=LONG_MS)
    frame = page.locator("iframe")
    inside = live.locator("main").bounding_box()["height"]
    page.wait_for_timeout(1500)
    assert frame.bounding_box()["height"] >= inside  # nothing is cut off
    assert frame.bounding_box()["width"] > 900


def test_a_word_opens_what_it_means_with_a_drawing(explorer, watched):
    one = watched(**WIDE)
    page = one.open(f"{explorer}/leaderboard", "Leaderboard")
    page.get_by_role("button", name="PRO and AUPRO").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Per-region overlap")).to_be_visible()
    expect(dialog.locator(".js-plotly-plot")).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_view_can_be_cited(explorer, watched):
    page = watched(**WIDE).open(f"{explorer}/leaderboard?metric=PRO", "Leaderboard")
    page.get_by_role("button", name="Cite this view").click()
    expect(page.get_by_text("/leaderboard?metric=PRO")).to_be_visible()
    expect(page.get_by_test_id("stPopoverBody").get_by_text("deng2022anomaly")).to_be_visible()


def test_a_charts_data_is_downloaded(explorer, watched):
    page = watched(**WIDE).open(f"{explorer}/complexity", "Complexity")
    with page.expect_download() as started:
        page.get_by_role("button", name="CSV").first.click()
    lines = Path(started.value.path()).read_text().splitlines()
    assert lines[0] == "series,x,y"
    assert any("SPADE" in line for line in lines)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation_on_any_page(explorer, watched, axe, scheme):
    found = []
    for path, heading in (PAGES | {"/live/": ""}).items():
        one = watched(
            viewport={"width": 1280, "height": 900}, color_scheme=scheme, bypass_csp=True
        )  # a page each: leaving the demo ends its streams
        if heading:
            one.open(explorer + path, heading)
        else:
            one.page.goto(f"{explorer}{path}?__theme={scheme}")
            one.page.get_by_text("score ").first.wait_for(timeout=LONG_MS)
            one.page.wait_for_timeout(1500)
        one.page.evaluate(axe)
        told = one.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            f"{path}: {each['id']}, {[node['html'][:120] for node in each['nodes']][:3]}"
            for each in told["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert found == []
