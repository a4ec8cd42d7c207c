"""Detectors that go to a small Hub and come back."""

import json

import numpy as np
import pytest
import yaml

from rd4ad import Detector
from rd4ad.inference.hub import HubError, card, fetch
from rd4ad.runs.store import read_run


@pytest.fixture(scope="module")
def run(part_results):
    return read_run(next(path for path in (part_results / "runs").iterdir() if path.is_dir()))


def test_a_detector_goes_up_with_a_card_and_comes_back(hub, finish, part_results, run, tmp_path):
    file = part_results / "detectors/transistor.safetensors"
    results = tmp_path / "results"
    (results / "runs").mkdir(parents=True)
    (results / "runs" / run.path.name).symlink_to(run.path)
    code, out, err = finish(
        "push", str(file), "me/part", "--run", run.path.name, "--results", str(results)
    )
    assert code == 0, err
    assert f"{hub.address}/me/part" in out
    stored = hub.repos["model/me/part"]
    head = yaml.safe_load(stored["README.md"].decode().split("---")[1])
    metrics = head["model-index"][0]["results"][0]["metrics"]
    own = run.metrics[run.metrics["is_default"]].set_index("metric")["value"].astype(float)
    assert {m["type"]: m["value"] for m in metrics}["image_auroc"] == pytest.approx(
        own["image_auroc"], abs=1e-4
    )
    assert json.loads((results / "hub.json").read_text()) == {
        run.record["run_id"]: f"{hub.address}/me/part"
    }
    code, out, err = finish(
        "code",
        "import numpy as np\nfrom rd4ad import Detector\n"
        "found = Detector.from_pretrained('me/part').predict(np.zeros((64, 64, 3), np.uint8))\n"
        "print(repr(found[0].score))",
    )
    assert code == 0, err
    here = Detector.load(file).predict(np.zeros((64, 64, 3), np.uint8))[0].score
    assert float(out) == pytest.approx(here, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "said"),
    [("me/none", "is not on the Hub"), ("me/empty", "holds no detector"), ("a b", "user/name")],
)
def test_what_is_not_there_is_one_sentence(hub, finish, name, said):
    hub.repos["model/me/empty"] = {"README.md": b"nothing else"}
    code, _, err = finish("code", f"from rd4ad import Detector; Detector.from_pretrained({name!r})")
    assert code == 1
    assert said in err.strip().splitlines()[-1]
    assert "HubError" in err


def test_a_folder_laid_out_like_a_repository_will_do(part_results, tmp_path):
    detector = Detector.load(part_results / "detectors/transistor.safetensors")
    detector.save(tmp_path / "model.safetensors")
    assert Detector.from_pretrained(tmp_path).size_px == detector.size_px


def test_a_card_says_where_the_threshold_comes_from_and_whose_license(part_results, run):
    header = Detector.load(part_results / "detectors/transistor.safetensors").header()
    text = card(header, "me/part", run)
    assert "normal images held out" in text
    assert 'from_pretrained("me/part")' in text
    assert "license: apache-2.0" in text
    real = type("Run", (), {"record": run.record | {"dataset": "MVTec AD"}, "metrics": run.metrics})
    assert "license: cc-by-nc-sa-4.0" in card(header, "me/part", real)
    assert "carries none" in card(header | {"calibration": None}, "me/part", None)


def test_no_login_is_said_before_anything_is_sent(part_results, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    detector = Detector.load(part_results / "detectors/transistor.safetensors")
    with pytest.raises(HubError, match="hf auth login"):
        detector.push_to_hub("me/part")


def test_a_folder_without_a_detector_is_no_repository(tmp_path):
    with pytest.raises(HubError):
        fetch(str(tmp_path))


def test_the_pages_know_where_a_runs_detector_is(tmp_path, monkeypatch):
    from rd4ad.web.explorer import index_cache

    monkeypatch.setattr(index_cache, "RESULTS", tmp_path)
    assert index_cache.on_the_hub("run") == ""
    known = {"run": "https://huggingface.co/me/part", "other": "javascript:alert(1)"}
    (tmp_path / "hub.json").write_text(json.dumps(known))
    assert index_cache.on_the_hub("run") == known["run"]
    assert index_cache.on_the_hub("other") == ""
