"""The static site in a real Chromium from a plain file server, against Python's values."""

import functools
import http.server
import io
import json
import os
import re
import shutil
import subprocess
import threading
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from playwright.sync_api import expect

from rd4ad.data.images import resize_image
from rd4ad.data.parts import render
from rd4ad.home import HOME
from rd4ad.inference.detector import Detector
from rd4ad.runs import rescoring
from rd4ad.runs.store import read_run
from rd4ad.scoring import Scoring
from rd4ad.teach.photos import findings, photo_of
from rd4ad.teach.threshold import threshold_for
from rd4ad.web.report.site import write_site
from tests.browser.conftest import LONG_MS

pytestmark = pytest.mark.browser
RESULTS, DETECTOR = HOME / "results", HOME / "results/detectors/bottle.safetensors"
HEADINGS = {
    "index.html": "Find defects after seeing only good parts",
    "leaderboard.html": "Leaderboard",
    "category.html": "Category",
    "ablations.html": "Ablations",
    "laboratory.html": "Laboratory",
    "live.html": "Live",
    "teach.html": "Teach",
}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The repository's own results with one detector, served as files."""
    out = tmp_path_factory.mktemp("site")
    own = os.environ.get("RD4AD_VENDOR")  # a folder with npm's archives
    made = write_site(RESULTS, out, detectors=[DETECTOR], vendor=Path(own) if own else None)
    if not made.is_vendored:
        pytest.skip("npm is not here, or cannot fetch the runtime: the site would need a network")
    handler = functools.partial(_Quiet, directory=str(out))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def opened(one, site, page, query=""):
    one.page.goto(f"{site}/{page}{query}")
    one.page.get_by_role("heading", name=HEADINGS[page], exact=True).wait_for(timeout=LONG_MS)
    return one.page


def ready(page):
    """Wait until the detector runs."""
    page.locator("#progress[data-ready]").wait_for(timeout=LONG_MS)
    return page


def judged(page, *photos):
    """Give photos to the live page and return the score that it shows of the first."""
    before = page.locator("#verdict").inner_html()
    page.locator("#files").set_input_files(list(photos))
    page.wait_for_function(
        "before => document.querySelector('#verdict').innerHTML !== before", arg=before,
        timeout=LONG_MS,
    )  # fmt: skip
    return float(page.locator("#verdict").get_attribute("data-score"))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_every_page_opens_and_fits(site, watched, scheme, width):
    one = watched(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for name in HEADINGS:
        page = opened(one, site, name)
        page.wait_for_timeout(600)
        expect(page.locator("#said")).to_be_empty()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_findings_are_those_of_the_server(site, watched):
    page = opened(watched(), site, "index.html")
    expect(page.locator("article.card")).to_have_count(9)
    expect(page.locator("article.card .js-plotly-plot")).to_have_count(9)


def test_a_permalink_restores_filters_and_a_cells_card(site, watched):
    one = watched(viewport={"width": 1280, "height": 1200})
    page = opened(one, site, "leaderboard.html")
    page.get_by_label("Metric").select_option("pro")
    page.get_by_label("Source").select_option("all")
    page.get_by_role("button", name="92.6").first.click()
    expect(page.locator("#card")).to_contain_text("Definition")
    said = page.locator("#card").inner_text()
    again = watched()
    again.page.goto(page.url)
    expect(again.page.locator("#card")).to_have_text(re.compile(re.escape(said.split("\n")[0])))
    expect(again.page.get_by_label("Metric")).to_have_value("pro")


def test_the_leaderboards_difference_and_export_are_the_tables(site, watched):
    page = opened(watched(accept_downloads=True), site, "leaderboard.html")
    expect(page.locator("#outcome")).to_contain_text("categories that both have")
    with page.expect_download() as started:
        page.get_by_role("button", name="CSV").click()
    lines = started.value.path().read_text().splitlines()
    assert lines[0].startswith("category,○ RD4AD WR50 256")
    assert any(line.startswith("transistor,0.925") for line in lines)


def test_an_ablation_has_the_means_of_the_index(site, watched):
    page = opened(watched(), site, "ablations.html")
    lines = page.locator("#table tbody tr")
    expect(lines).to_have_count(7)
    rows = {text.split()[0]: text for text in lines.all_inner_texts()}
    assert "93.1 ± 0.4" in rows["3"]
    assert "87.7 ± 0.1" in rows["1+2+3"]
    page.get_by_role("button", name="87.7").click()
    expect(page.locator("#table")).to_contain_text("+5.4")


def test_pillows_resize_is_met_to_the_last_level(site, watched):
    page = opened(watched(), site, "index.html")
    rng = np.random.default_rng(0)
    for height, width, size in ((64, 48, 32), (300, 500, 256), (37, 41, 64), (256, 256, 256)):
        image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        found = page.evaluate(
            """async ([pixels, width, height, size]) => {
                const { resized } = await import("/js/resize.js");
                return [...resized(Uint8Array.from(pixels), width, height, 3, size)];
            }""",
            [image.ravel().tolist(), width, height, size],
        )
        expected = resize_image(image, size)
        assert np.abs(np.array(found).reshape(size, size, 3) - expected).max() == 0


@pytest.mark.parametrize(
    ("query", "layers", "fusion", "sigma_px"),
    [("", (1, 2, 3), "sum", 4.0), ("&layers=3&sigma=2", (3,), "sum", 2.0),
     ("&layers=1%2B3&fusion=product&sigma=0", (1, 3), "product", 0.0)],
)  # fmt: skip
def test_the_laboratory_gives_pythons_metrics(site, watched, query, layers, fusion, sigma_px):
    with urllib.request.urlopen(f"{site}/data/laboratory.json") as answer:
        runs = json.load(answer)
    told = next(one for one in runs if one["category"] == "transistor" and one["has_masks"])
    run = read_run(RESULTS / "runs" / told["id"])
    expected = rescoring.rescore(
        run.distances(), Scoring(layers=layers, fusion=fusion, sigma_px=sigma_px),
        int(run.record["size_px"]), run.images()["label"].to_numpy(), run.masks(),
    ).metrics  # fmt: skip
    page = opened(watched(), site, "laboratory.html", f"?run={told['id']}{query}")
    for metric in ("image_auroc", "pixel_auroc", "aupro"):
        value = page.locator(f"[data-metric={metric}]")
        value.wait_for(timeout=LONG_MS)
        assert float(value.get_attribute("data-value")) == pytest.approx(expected[metric], abs=1e-6)
    expect(page.locator("#pictures canvas")).to_have_count(12)


def test_the_models_score_and_map_are_pythons(site, watched):
    page = ready(opened(watched(), site, "live.html"))
    image = render("bottle", "broken_large", 4)[0]
    expected = Detector.load(DETECTOR).predict(image)[0]
    found = page.evaluate(
        """async (pixels) => {
            const { found } = await judgePixels(Uint8Array.from(pixels));
            return [found.score, [...found.map]];
        }""",
        image.ravel().tolist(),
    )
    assert found[0] == pytest.approx(expected.score, abs=1e-6)
    np.testing.assert_allclose(
        np.array(found[1]).reshape(256, 256), expected.anomaly_map, atol=1e-6
    )


def photo(path, *, turned=False):
    """A JPEG of 12 megapixels of a generated part, as a camera writes it."""
    image = Image.fromarray(render("bottle", "contamination", 3)[0])
    large = image.resize((4000, 3000), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    if turned:
        large, exif[0x0112] = large.transpose(Image.Transpose.ROTATE_90), 6
    large.save(path, quality=92, exif=exif)
    return path


@pytest.mark.parametrize("turned", [False, True])
def test_a_camera_photo_is_judged_as_by_python(site, watched, tmp_path, turned):
    page = ready(opened(watched(), site, "live.html"))
    file = photo(tmp_path / "photo.jpg", turned=turned)
    expected = Detector.load(DETECTOR).predict(file)[0]
    assert judged(page, file) == pytest.approx(expected.score, abs=1e-3)
    expect(page.locator("#verdict")).to_contain_text("defective")
    expect(page.locator("#layers canvas")).to_have_count(3)
    assert page.locator("#regions tbody tr").count() >= 1


def test_the_map_is_kept_as_a_file_that_numpy_reads(site, watched, tmp_path):
    page = ready(opened(watched(accept_downloads=True), site, "live.html"))
    Image.fromarray(render("bottle", "good", 2)[0]).save(tmp_path / "good.png")
    judged(page, tmp_path / "good.png")
    with page.expect_download() as started:
        page.get_by_role("button", name="Map NPY").click()
    found = np.load(io.BytesIO(started.value.path().read_bytes()))
    expected = Detector.load(DETECTOR).predict(tmp_path / "good.png")[0].anomaly_map
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_fifty_photos_one_broken_and_another_part(site, watched, tmp_path):
    page = ready(opened(watched(), site, "live.html"))
    files = []
    for number in range(48):
        files.append(tmp_path / f"{number:02d}.png")
        Image.fromarray(render("bottle", "good", number)[0]).save(files[-1])
    (tmp_path / "broken.png").write_bytes(files[0].read_bytes()[:500])
    Image.fromarray(render("wood", "good", 0)[0]).save(tmp_path / "wood.png")
    page.locator("#files").set_input_files([*files, tmp_path / "broken.png", tmp_path / "wood.png"])
    rows = page.locator("#batch tbody tr")
    expect(rows).to_have_count(50)
    expect(rows.filter(has_text="broken.png")).to_contain_text("not an image")
    expect(rows.filter(has_text="wood.png")).to_contain_text("another part")
    expect(page.get_by_role("button", name="Scores as CSV")).to_be_visible()


def test_what_is_no_detector_is_refused_and_a_true_one_is_taken(site, watched, tmp_path):
    page = ready(opened(watched(), site, "live.html"))
    attacks = {"text.onnx": b"hello", "empty.onnx": b"", "cut.onnx": b"\x3a\xff\xff\xff\x7fabc"}
    for name, content in attacks.items():
        (tmp_path / name).write_bytes(content)
        page.locator("#files").set_input_files(tmp_path / name)
        expect(page.locator("#said")).to_contain_text("ONNX file" if name == "cut.onnx" else "onnx",
                                                      ignore_case=True)  # fmt: skip
    with urllib.request.urlopen(f"{site}/detectors/bottle.onnx") as answer:
        (tmp_path / "mine.onnx").write_bytes(answer.read())
    Image.fromarray(render("bottle", "contamination", 1)[0]).save(tmp_path / "part.png")
    page.locator("#files").set_input_files([tmp_path / "mine.onnx", tmp_path / "part.png"])
    expect(page.locator("#verdict")).to_contain_text("defective", timeout=LONG_MS)
    expect(page.locator("#progress")).to_contain_text("mine")


def test_the_camera_is_judged_as_a_stream(site, watched):
    page = ready(opened(watched(permissions=["camera"]), site, "live.html"))
    page.get_by_role("button", name="Start the camera").click()
    expect(page.locator("#verdict")).to_contain_text("camera", timeout=LONG_MS)
    page.get_by_role("button", name="Stop the camera").click()
    expect(page.get_by_role("button", name="Start the camera")).to_be_visible()


@pytest.fixture
def good_photos(tmp_path):
    files = [tmp_path / f"good {number:02d}.png" for number in range(12)]
    for number, file in enumerate(files):
        Image.fromarray(render("bottle", "good", number, split="train")[0]).save(file)
    return files


def test_a_part_is_taught_in_the_browser_and_python_loads_what_it_learned(
    site, watched, tmp_path, good_photos
):
    page = opened(watched(accept_downloads=True), site, "teach.html")
    page.locator("#progress[data-ready]").wait_for(timeout=LONG_MS)
    files = page.locator("#files")
    files.set_input_files(good_photos[:3])
    expect(page.locator("#findings")).to_contain_text("at least 5 are needed")
    expect(page.get_by_role("button", name="Teach", exact=True)).to_be_disabled()
    (tmp_path / "broken.png").write_bytes(b"no image")
    files.set_input_files([*good_photos[3:], tmp_path / "broken.png"])
    expect(page.locator("#findings")).to_contain_text("broken.png")
    expect(page.locator("#findings")).to_contain_text("Fewer than 20 photos")
    page.get_by_role("button", name="Teach", exact=True).click()
    told = page.locator("#threshold[data-value]")
    told.wait_for(timeout=LONG_MS)
    scores = json.loads(told.get_attribute("data-scores"))
    expected = threshold_for(scores, 0.01)
    assert float(told.get_attribute("data-value")) == pytest.approx(expected.value, rel=1e-9)
    expect(told).to_contain_text(f"1 false alarm in {int(1 / expected.at_most)}")
    with page.expect_download() as started:
        page.get_by_role("button", name="Download part.safetensors").click()
    started.value.save_as(tmp_path / "part.safetensors")
    detector = Detector.load(tmp_path / "part.safetensors")
    assert detector.calibration.threshold == pytest.approx(expected.value)
    for kind, verdict in (("good", "normal"), ("contamination", "defective")):
        file = tmp_path / f"{kind}.png"
        Image.fromarray(render("bottle", kind, 3)[0]).save(file)
        page.locator("#judge-file").set_input_files(file)
        expect(page.locator("#verdict")).to_contain_text(f"{kind}.png")
        expect(page.locator("#verdict")).to_contain_text(verdict)
        found = float(page.locator("#verdict").get_attribute("data-score"))
        assert found == pytest.approx(detector.predict(file)[0].score, abs=1e-4)


def test_photos_are_checked_as_by_python(site, watched, good_photos):
    page = opened(watched(), site, "index.html")
    photos = [photo_of(file.name, np.asarray(Image.open(file))) for file in good_photos[:6]]
    blurred = np.asarray(Image.open(good_photos[0]).filter(ImageFilter.GaussianBlur(4)))
    photos += [photo_of("blurred.png", blurred), photo_of("again.png", photos[1].image)]
    found = page.evaluate(
        """async (photos) => {
            const { photoOf, findings } = await import("/js/photo-checks.js");
            const made = photos.map(
                ([name, pixels]) => photoOf(name, Uint8Array.from(pixels), 256, 256, 256),
            );
            return [findings(made), made.map((one) => one.sharpness)];
        }""",
        [[one.name, one.image.ravel().tolist()] for one in photos],
    )
    expected = findings(photos)
    assert [(one["kind"], one["photos"]) for one in found[0]] == [
        (one.kind, list(one.photos)) for one in expected
    ]
    assert {"duplicates", "blurred"} <= {one.kind for one in expected}
    assert found[1] == pytest.approx([one.sharpness for one in photos], rel=1e-4)


def test_it_works_offline_once_loaded(site, watched, tmp_path):
    one = watched()
    page = ready(opened(one, site, "live.html"))
    page.evaluate("navigator.serviceWorker.ready")
    page.reload()  # now through the service worker, which keeps what it loads
    ready(page)
    one.context.set_offline(True)
    page.reload()
    ready(page)
    Image.fromarray(render("bottle", "contamination", 1)[0]).save(tmp_path / "part.png")
    judged(page, tmp_path / "part.png")
    expect(page.locator("#verdict")).to_contain_text("defective")
    one.context.set_offline(False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_violation(site, watched, axe, scheme):
    one = watched(color_scheme=scheme, bypass_csp=True)
    found = []
    for name in HEADINGS:
        page = opened(one, site, name)
        page.wait_for_timeout(1500)
        page.evaluate(axe)
        told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found += [
            f"{name}: {each['id']}, {[node['html'][:120] for node in each['nodes']][:3]}"
            for each in told["violations"]
            if each["impact"] in ("serious", "critical")
        ]
    assert found == []


def test_firefox_gives_the_same_values(site, packages, tmp_path):
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox is None:
        pytest.skip("no Firefox found (Debian's package: firefox-esr)")
    photo_file = tmp_path / "part.png"
    Image.fromarray(render("bottle", "contamination", 3)[0]).save(photo_file)
    shutil.copy(Path(__file__).parent / "firefox.mjs", packages)
    done = subprocess.run(
        ["node", "firefox.mjs", site, firefox, photo_file, *HEADINGS], cwd=packages,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["errors"] == []
    expected = Detector.load(DETECTOR).predict(photo_file)[0].score
    assert told["score"] == pytest.approx(expected, abs=1e-6)
    assert set(told["metrics"]) == {"image_auroc", "pixel_auroc", "aupro"}
