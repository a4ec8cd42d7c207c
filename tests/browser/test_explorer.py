"""The explorer in a real Chromium: what a person sees and does, and where requests go."""

import re
import urllib.request
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

from rd4ad.data.parts import render
from rd4ad.runs.index import read_index

pytestmark = pytest.mark.browser
HOME = Path(__file__).resolve().parents[2]
LONG_MS = 60_000
HOME_HEADING = "Find defects after seeing only good parts"
PAGES = {
    "/": HOME_HEADING,
    "/leaderboard": "Leaderboard",
    "/category?category=Generated+parts+%2F+transistor": "Category",
    "/threshold": "Threshold",
    "/limitations?layers=3&fusion=Product": "Limitations",
    "/pro_auditor": "PRO auditor",
    "/ablations?across=Fusion": "Ablations",
    "/complexity": "Complexity",
    "/novelty": "Novelty",
    "/teach": "Teach",
    "/compare": "Compare yours",
    "/demo": "Live",
    "/about": "About",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_opens_cold_by_its_permalink(address, watched, scheme, width):
    for path, heading in PAGES.items():
        one = watched(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page = one.open(address + path, heading)
        assert page.get_by_test_id("stException").count() == 0
        assert 1000 < one.sent_bytes < 2_000_000
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        background = page.evaluate(
            "getComputedStyle(document.querySelector('.stApp')).backgroundColor"
        )
        assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 20, 23)"}[scheme]
        if width > 1000:
            page.get_by_role("link", name="Leaderboard").first.wait_for(timeout=LONG_MS)


def test_a_permalink_restores_its_view(address, watched):
    page = watched().open(f"{address}/limitations?layers=3&fusion=Product&units=fraction",
                          "Limitations")  # fmt: skip
    for layer in (1, 2, 3):
        button = page.get_by_role("button", name=str(layer), exact=True)
        expect(button).to_have_attribute("aria-pressed", "true" if layer == 3 else "false")
    for name in ("Product", "fraction"):
        expect(page.get_by_role("radio", name=name, exact=True)).to_be_checked()
    expect(page.get_by_text("Pixel AUROC of transistor, fraction")).to_be_visible()


def test_a_click_on_a_cell_opens_its_card_and_the_link_keeps_it(address, watched):
    one = watched(viewport={"width": 1280, "height": 900})
    page = one.open(f"{address}/leaderboard", "Leaderboard")
    table = page.get_by_test_id("stDataFrame").first
    # The table is a canvas: it answers clicks once its cells are there for screen readers.
    table.get_by_test_id("glide-cell-1-2").wait_for(state="attached", timeout=LONG_MS)
    corner = table.bounding_box()
    page.mouse.click(corner["x"] + 180, corner["y"] + 35 * 4 + 17)
    expect(page.get_by_text("· Leather")).to_be_visible()
    page.wait_for_url("**at=leather**", timeout=LONG_MS)
    one.settle()
    again = watched().open(page.url, "Leaderboard")
    expect(again.get_by_text("· Leather")).to_be_visible()


def test_a_link_to_a_run_opens_it_and_another_choice_changes_the_link(bundled, watched):
    index = read_index(HOME / "results", dataset="MVTec AD", category="bottle", is_default=True)
    own = index.query("size_px == 256 and method == 'reverse_distillation'")
    asked, other = own.sort_values("seed")["run_id"].iloc[-2:]
    one = watched(viewport={"width": 1280, "height": 900})
    page = one.open(f"{bundled}/threshold?run={asked}", "Threshold")
    chosen = page.get_by_role("combobox", name="Run")
    expect(chosen).to_have_value(re.compile(asked[-8:]))
    chosen.click()
    page.get_by_role("option", name=other[-8:]).click()
    page.wait_for_url(f"**run={other}**", timeout=LONG_MS)
    again = watched().open(page.url, "Threshold")
    expect(again.get_by_role("combobox", name="Run")).to_have_value(re.compile(other[-8:]))
    category = again.get_by_role("combobox", name="Category")
    category.click()
    again.get_by_role("option", name="MVTec AD / transistor").click()
    again.wait_for_url(re.compile(r"threshold(?!.*run=)"), timeout=LONG_MS)  # it is no longer that


def test_back_leads_to_the_page_before(address, watched):
    one = watched(viewport={"width": 1280, "height": 900})
    page = one.open(f"{address}/leaderboard", "Leaderboard")
    page.get_by_role("link", name="Threshold").click()
    page.get_by_role("heading", name="Threshold", exact=True).wait_for(timeout=LONG_MS)
    one.settle()
    page.go_back()
    page.get_by_role("heading", name="Leaderboard", exact=True).wait_for(timeout=LONG_MS)
    one.settle()


def test_the_threshold_slider_changes_counts_and_address(address, watched):
    one = watched(viewport={"width": 1280, "height": 900})
    page = one.open(f"{address}/threshold", "Threshold")
    missed = page.get_by_test_id("stMetricValue").first
    expect(missed).not_to_have_text("0")
    handle = page.get_by_role("slider").first
    handle.focus()
    handle.press("End")
    page.wait_for_function("location.search.includes('threshold=')", timeout=LONG_MS)
    one.settle()
    expect(missed).to_have_text("0")
    expect(page.get_by_test_id("stImage").first).to_be_visible()


def test_an_export_is_downloaded(address, watched, tmp_path):
    one = watched(viewport={"width": 1280, "height": 900})
    page = one.open(f"{address}/leaderboard", "Leaderboard")
    page.get_by_text("Export this table").click()
    with page.expect_download() as started:
        page.get_by_role("button", name="LaTeX").click()
    text = Path(started.value.path()).read_text()
    assert r"\toprule" in text
    assert "Transistor" in text or "transistor" in text


def test_an_attack_on_the_auditor_is_an_error_on_the_page_and_the_next_file_works(
    address, watched, tmp_path
):
    header = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f8', 'fortran_order': False, 'shape': (%d,)}"
    attacks = {
        "bomb.npz": bytes(150 * 2**20),
        "promise.npz": (header % 10**9).ljust(127) + b"\n",
    }
    page = watched().open(f"{address}/pro_auditor", "PRO auditor")
    for name, content in attacks.items():
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("maps.npy", content)
        page.locator("input[type=file]").set_input_files(tmp_path / name)
        expect(page.get_by_text(f"{name}: ")).to_be_visible()
        page.get_by_role("button", name=f"Remove {name}").click()
        expect(page.get_by_text(f"{name}: ")).to_have_count(0)
    maps = np.random.default_rng(0).random((3, 8, 8))
    np.savez(tmp_path / "mine.npz", maps=maps, masks=maps > 0.9)
    page.locator("input[type=file]").set_input_files(tmp_path / "mine.npz")
    expect(page.get_by_text("PRO curves")).to_be_visible()


def test_maps_are_compared_under_a_link_and_hostile_zip_files_are_refused(
    address, watched, tmp_path
):
    attacks = {
        "climb.zip": {"../../etc/passwd": b"x", "/abs/000.npy": b"x"},
        "bomb.zip": {f"m/good/{i:03}.npy": bytes(65 * 2**20) for i in range(1)},
        "nothing.zip": {"readme.txt": b"x"},
        "half.zip": {"m/good/000.npy": b"x"},
    }
    page = watched(viewport={"width": 1280, "height": 1600}).open(
        f"{address}/compare", "Compare yours"
    )
    for name, entries in attacks.items():
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            for entry, content in entries.items():
                archive.writestr(entry, content)
        page.locator("input[type=file]").set_input_files(tmp_path / name)
        expect(page.get_by_text(f"{name}: ")).to_be_visible(timeout=LONG_MS)
        page.get_by_role("button", name=f"Remove {name}").click()
        expect(page.get_by_text(f"{name}: ")).to_have_count(0)
    page.get_by_role("textbox", name="Name of your method").fill("Mine <b>")
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)  # for the page that has the name
    with page.expect_download() as started:
        page.get_by_role("button", name="Its ZIP file").click()
    started.value.save_as(tmp_path / "own.zip")
    page.locator("input[type=file]").set_input_files(tmp_path / "own.zip")
    page.get_by_role("heading", name="Worst images").wait_for(timeout=LONG_MS)
    expect(page.get_by_text("(Mine b)").first).to_be_visible()
    link = page.url
    assert "comparison=" in link
    other = watched().open(link, "Compare yours")
    other.get_by_role("heading", name="Worst images").wait_for(timeout=LONG_MS)
    other.get_by_role("button", name="Compare others").click()
    other.get_by_role("button", name="See an example").click()
    expect(other.get_by_text("(Deepest layer)").first).to_be_visible(timeout=LONG_MS)
    gone = watched().open(f"{address}/compare?comparison={'0' * 32}", "Compare yours")
    expect(gone.get_by_text("This comparison is gone")).to_be_visible(timeout=LONG_MS)


def test_keys_alone_reach_the_menu(address, watched):
    page = watched(viewport={"width": 1280, "height": 900}).open(
        f"{address}/leaderboard", "Leaderboard"
    )
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.innerText || ''").strip().endswith("Category"):
            break
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Category", exact=True).wait_for(timeout=LONG_MS)


def put_in_place(page, file):
    """Upload a file where another picture is; a field that is about to go would lose it."""
    clear = page.get_by_label("Clear").or_(page.get_by_label("Remove Image"))
    n_pictures = clear.count()
    clear.first.click()
    expect(clear).to_have_count(n_pictures - 1)
    page.locator("input[type=file]").first.set_input_files(str(file))


def test_the_live_page_judges_an_upload_and_refuses_a_broken_file(address, watched, tmp_path):
    good, bad = tmp_path / "part.png", tmp_path / "broken.png"
    Image.fromarray(render("transistor", "misplaced", 1)[0]).save(good)
    bad.write_bytes(good.read_bytes()[:900])
    one = watched(viewport={"width": 1280, "height": 1200})
    page = one.page
    page.goto(f"{address}/live/")
    page.get_by_text("score ").first.wait_for(timeout=LONG_MS)  # the first example, by itself
    of_example = page.locator(".files a").first.get_attribute("href")
    put_in_place(page, good)
    page.wait_for_function(
        """old => {
            const link = document.querySelector(".files a");
            return link && link.getAttribute("href") !== old;
        }""",
        arg=of_example,
        timeout=LONG_MS,
    )
    with page.expect_download() as started:
        page.get_by_text("Raw map TIFF").click()
    assert Path(started.value.path()).read_bytes()[:2] == b"II"
    put_in_place(page, bad)
    page.get_by_text("not a whole image").first.wait_for(timeout=LONG_MS)


def test_a_digit_can_be_drawn_and_is_judged(bundled, watched):
    page = watched(viewport={"width": 1280, "height": 1200}).page
    page.goto(f"{bundled}/live/")
    page.get_by_role("tab", name="Digit").click(timeout=LONG_MS)
    pad = page.locator("#sketch")
    judge = page.get_by_role("button", name="Judge the digit")
    judge.click()
    page.get_by_text("Nothing is drawn yet").first.wait_for(timeout=LONG_MS)
    expect(pad).not_to_contain_text("to start")  # the brush is at hand
    box = pad.locator("canvas").first.bounding_box()

    def draw(points):
        at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        page.mouse.move(*at[0])
        page.mouse.down()
        for point in at[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()

    turns = [(x, y) for y in (0.36, 0.64) for x in (0.38, 0.5, 0.58, 0.6, 0.58, 0.5)]
    bent = [-0.1, -0.14, -0.08, 0.0, 0.08, 0.13]
    draw([(x, y + down) for (x, y), down in zip(turns, 2 * bent, strict=True)])
    judge.click()
    page.get_by_text("passes for a 3").first.wait_for(timeout=LONG_MS)
    pad.get_by_label("Clear canvas").click()
    expect(pad).not_to_contain_text("to start")
    draw([(0.5, 0.2), (0.5, 0.8)])
    judge.click()
    page.get_by_text("no 3 that it knows").first.wait_for(timeout=LONG_MS)


def test_the_demo_is_inside_the_explorer(address, watched):
    page = watched(viewport={"width": 1280, "height": 1400}).open(f"{address}/demo", "Live")
    frame = page.frame_locator("iframe").first
    frame.get_by_text("Detector", exact=True).first.wait_for(timeout=LONG_MS)


def test_the_page_opens_by_streamlit_alone_too(browser, running):
    with running("-m", "streamlit", "run", "app.py", "--server.address", "127.0.0.1") as url:
        page = browser.new_page()
        page.goto(f"{url}/demo")
        page.get_by_text("rd4ad serve").first.wait_for(timeout=LONG_MS)
        page.close()


def test_plain_python_serves_everything_as_a_gradio_space_does(running):
    with running("app.py") as url:
        assert b"gradio" in urllib.request.urlopen(f"{url}/live/").read()
