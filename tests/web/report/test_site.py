"""The static site as files: what is written, from where, and what is refused."""

import hashlib
import io
import json
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from rd4ad.cli.parser import main
from rd4ad.data.parts import render
from rd4ad.export.onnx_file import model_of
from rd4ad.export.packed import with_small_weights
from rd4ad.home import HOME
from rd4ad.inference.detector import Detector
from rd4ad.web.report import vendor
from rd4ad.web.report.data import file_name
from rd4ad.web.report.site import STATIC, write_site
from rd4ad.web.report.vendor import VendorError

PAGES = {"index", "leaderboard", "category", "ablations", "laboratory", "live", "teach"}


@pytest.fixture
def no_npm(monkeypatch):
    """A machine without npm: the pages then link a CDN, and no test needs a network."""
    monkeypatch.setattr(vendor.shutil, "which", lambda name: None)


def test_the_site_is_whole_and_loads_nothing_but_what_it_names(part_results, tmp_path, no_npm):
    detector = part_results / "detectors/transistor.safetensors"
    site = write_site(part_results, tmp_path / "site", detectors=[detector])
    out = tmp_path / "site"
    assert {path.stem for path in out.glob("*.html")} == PAGES
    assert site.detectors == ("transistor",)
    assert site.n_runs == 1
    for page in out.glob("*.html"):
        text = page.read_text()
        policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy.replace("wasm-unsafe-eval", "")
        for address in re.findall(r"""(?:src|href)=['"]([^'"]+)""", text):
            if "//" in address:
                assert address.startswith(vendor.CDN)
                assert 'integrity="sha384-' in text
            elif not address.startswith("data:"):
                assert (out / address).is_file()


def test_what_a_page_imports_is_there():
    for script in (STATIC / "js").glob("*.js"):
        for imported in re.findall(r'from "\./([^"]+)"', script.read_text()):
            assert (STATIC / "js" / imported).is_file(), f"{script.name} imports {imported}"


def test_the_data_are_those_of_the_results(part_results, tmp_path, no_npm):
    write_site(part_results, tmp_path)
    table = json.loads((tmp_path / "data/MVTec_AD.json").read_text())
    paper = next(one for one in table["columns"] if one["label"] == "○ RD4AD WR50 256"
                 and one["metric"] == "pixel_auroc")  # fmt: skip
    assert paper["values"]["transistor"] == 0.925
    assert any("96.03" in said for said in table["disagreements"])
    mine = json.loads((tmp_path / "data/Generated_parts-transistor.json").read_text())
    run = json.loads(next((part_results / "runs").glob("*/run.json")).read_text())
    assert [one["id"] for one in mine["runs"]] == [run["run_id"]]
    assert len(mine["runs"][0]["scores"]) == run["n_test_images"]


def test_without_a_run_the_published_values_stand_alone(results, tmp_path, no_npm):
    site = write_site(results, tmp_path / "site")
    assert site.datasets == ("MVTec AD",)
    assert site.n_runs == 0


def test_the_repositorys_own_site_is_small_before_a_detector_is_chosen(tmp_path, no_npm):
    write_site(HOME / "results", tmp_path)
    first = [path for path in tmp_path.rglob("*") if path.is_file() and "lab" not in path.parts]
    sizes = [path.stat().st_size for path in first if path.suffix != ".onnx"]
    assert sum(sizes) < 2 * 2**20  # Plotly adds 1.1 MB


def test_a_server_is_linked_and_an_address_that_is_none_is_refused(results, tmp_path, no_npm):
    write_site(results, tmp_path, server="https://example.org/")
    assert 'name="server" content="https://example.org/"' in (tmp_path / "live.html").read_text()
    for address in ("javascript:alert(1)", 'https://a"><script>'):
        with pytest.raises(ValueError, match="address"):
            write_site(results, tmp_path, server=address)


def test_a_packed_model_is_smaller_and_gives_the_same_maps(tmp_path):
    checkpoint = HOME / "results/detectors/bottle.safetensors"
    _, model = model_of(checkpoint)
    small = with_small_weights(model)
    assert small.ByteSize() < 0.6 * model.ByteSize()
    onnx.checker.check_model(small)
    session = onnxruntime.InferenceSession(small.SerializeToString())
    image = render("bottle", "contamination", 2)[0]
    anomaly_map, score = session.run(["anomaly_map", "score"], {"image": image[None]})
    expected = Detector.load(checkpoint).predict(image)[0]
    assert score[0] == pytest.approx(expected.score, abs=1e-6)
    np.testing.assert_allclose(anomaly_map[0], expected.anomaly_map, atol=1e-6)


@pytest.fixture
def pinned(monkeypatch, tmp_path) -> Path:
    """A folder with an archive of a package that is pinned for the time of a test."""
    content = b"export const a = 1;"
    archive = tmp_path / "npm/thing-1.0.0.tgz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as packing:
        entry = tarfile.TarInfo("package/dist/thing.mjs")
        entry.size = len(content)
        packing.addfile(entry, io.BytesIO(content))

    def coded(digest: bytes) -> str:
        return vendor.base64.b64encode(digest).decode()

    files = {"thing.mjs": ("dist/thing.mjs", coded(hashlib.sha384(content).digest()))}
    whole = coded(hashlib.sha512(archive.read_bytes()).digest())
    monkeypatch.setattr(vendor, "PACKAGES", (vendor.Package("thing", "1.0.0", whole, files),))
    return archive


def test_a_pinned_archive_is_unpacked(pinned, tmp_path):
    assert vendor.write_vendor(tmp_path, pinned.parent)
    assert (tmp_path / "vendor/thing.mjs").read_text() == "export const a = 1;"


def test_another_archive_than_the_pinned_one_is_refused(pinned, tmp_path):
    pinned.write_bytes(pinned.read_bytes() + b"\0")
    with pytest.raises(VendorError, match="as published"):
        vendor.write_vendor(tmp_path, pinned.parent)


def test_a_changed_file_is_refused_and_a_missing_one_says_how_to_get_it(pinned, tmp_path):
    pinned.unlink()
    with pytest.raises(VendorError, match=re.escape("npm pack thing@1.0.0")):
        vendor.write_vendor(tmp_path, pinned.parent)
    (pinned.parent / "thing.mjs").write_text("export const a = 2;")
    with pytest.raises(VendorError, match="is not that of"):
        vendor.write_vendor(tmp_path, pinned.parent)


def test_the_command_writes_it_and_says_what_it_links(part_results, tmp_path, capsys, no_npm):
    assert main(["report", "--results", str(part_results), "--out", str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "1 detectors" in said
    assert "CDN" in said


def test_a_folder_without_results_is_a_clear_error(tmp_path, capsys):
    assert main(["report", "--results", str(tmp_path), "--out", str(tmp_path / "a")]) == 1
    assert "published" in capsys.readouterr().err


def test_a_target_that_cannot_be_written_is_a_clear_error(part_results, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    target = str(tmp_path / "file/x")
    assert main(["report", "--results", str(part_results), "--out", target]) == 1
    assert "file" in capsys.readouterr().err


def test_names_of_files_are_plain():
    assert file_name("../a b") == "___a_b"


def test_the_scripts_pass_the_type_checker(tmp_path):
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed: TypeScript's checker comes from there")
    package = Path(__file__).parent / "package.json"
    shutil.copy(package, tmp_path)
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
    done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    if done.returncode:
        pytest.skip(f"TypeScript cannot be had here: {done.stderr[-200:]}")
    checker = tmp_path / "node_modules/typescript/bin/tsc"
    checked = subprocess.run(
        ["node", checker, "-p", STATIC / "jsconfig.json"], capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert checked.stdout == ""
    assert checked.returncode == 0
