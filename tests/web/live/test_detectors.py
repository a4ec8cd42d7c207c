import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from rd4ad import Detector, Scoring
from rd4ad.data.parts import render
from rd4ad.export.onnx_file import export_onnx
from rd4ad.home import WEIGHTS
from rd4ad.inference.torch_engine import TorchEngine
from rd4ad.methods.backbones import load_teacher
from rd4ad.methods.reverse_distillation import ReverseDistillation
from rd4ad.runs.store import read_run
from rd4ad.web.explorer import index_cache
from rd4ad.web.live import judgments
from rd4ad.web.live.card import card_of
from rd4ad.web.live.detectors import MOST_LOADED, BusyError, Detectors, regions


@pytest.fixture(scope="module")
def detectors(part_results):
    return Detectors([part_results / "detectors"])


@pytest.fixture(scope="module")
def image():
    return render("transistor", "misplaced", 0)[0]


def test_a_judgment_is_the_detectors_own_prediction(detectors, image, part_results):
    judged = detectors.judge("transistor", image)
    file = part_results / "detectors/transistor.safetensors"
    wanted = Detector.load(file).predict(image)[0]
    assert judged.score == wanted.score
    np.testing.assert_array_equal(judged.anomaly_map, wanted.anomaly_map)
    assert (judged.verdict(judged.threshold) == "defective") == wanted.is_anomalous
    assert judged.size == (256, 256)


def test_no_torch_is_loaded_and_none_is_needed(part_results):
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "import numpy as np\n"
        "from rd4ad.web.live.detectors import Detectors\n"
        f"detectors = Detectors([Path({str(part_results / 'detectors')!r})])\n"
        "print(detectors.judge('transistor', np.zeros((90, 70, 3), np.uint8)).score > 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


@pytest.fixture
def by_torch_alone(tmp_path, monkeypatch):
    """A detector whose teacher is a .pth file, which torch alone reads."""
    torch.save(load_file(WEIGHTS / "compact.safetensors"), tmp_path / "compact.pth")
    monkeypatch.setenv("RD4AD_WEIGHTS", str(tmp_path))
    teacher, file = load_teacher("compact")
    method = ReverseDistillation("compact", (3,), teacher=teacher)
    engine = TorchEngine(method)
    detector = Detector(engine, size_px=64, scoring=Scoring(layers=(3,)), teacher_file=file)
    detector.save(tmp_path / "detectors/one.safetensors")
    return tmp_path / "detectors"


def test_a_teacher_that_torch_reads_is_judged_by_the_graph_too(by_torch_alone, image):
    detectors = Detectors([by_torch_alone])
    assert detectors.load("one").engine.name == "onnx"
    wanted = Detector.load(by_torch_alone / "one.safetensors", engine="torch").predict(image)[0]
    assert detectors.judge("one", image).score == pytest.approx(wanted.score, abs=1e-5)


def test_without_torch_such_a_detector_is_refused_and_served_once_exported(by_torch_alone, image):
    checkpoint = by_torch_alone / "one.safetensors"
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from rd4ad.web.live.detectors import Detectors\n"
        "try:\n"
        f"    Detectors([Path({str(by_torch_alone)!r})]).load('one')\n"
        "except ValueError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert str(checkpoint) in done.stdout, done.stderr
    assert "rd4ad export" in done.stdout
    assert "torch is not installed" in done.stdout

    export_onnx(checkpoint, by_torch_alone / "one.onnx")
    detectors = Detectors([by_torch_alone])
    assert detectors.files() == {"one": by_torch_alone / "one.onnx"}
    assert detectors.judge("one", image).score > 0


def test_the_layers_maps_add_up_and_so_do_their_shares(detectors, image):
    judged = detectors.judge("transistor", image)
    np.testing.assert_allclose(sum(judged.layer_maps.values()), judged.anomaly_map, atol=1e-5)
    assert sum(judged.shares.values()) == pytest.approx(1)


def test_an_unknown_name_is_not_a_path(detectors, image):
    for name in ("none", "../detectors/transistor", "/etc/passwd", "transistor.safetensors"):
        with pytest.raises(KeyError):
            detectors.judge(name, image)


def test_a_broken_checkpoint_says_so_and_others_work_on(part_results, image, tmp_path):
    good = tmp_path / "good.safetensors"
    shutil.copy(part_results / "detectors/transistor.safetensors", good)
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    detectors = Detectors([tmp_path, tmp_path / "absent"])
    assert list(detectors.files()) == ["bad", "good"]
    with pytest.raises(ValueError, match=r"bad\.safetensors"):
        detectors.judge("bad", image)
    assert detectors.judge("good", image).score > 0


def test_a_changed_file_is_loaded_again(part_results, tmp_path):
    file = tmp_path / "one.safetensors"
    shutil.copy(part_results / "detectors/transistor.safetensors", file)
    detectors = Detectors([tmp_path])
    first = detectors.load("one")
    assert detectors.load("one") is first
    import os

    os.utime(file, (1, 1))
    assert detectors.load("one") is not first


def test_few_detectors_stay_in_memory(part_results, tmp_path):
    for number in range(MOST_LOADED + 3):
        file = tmp_path / f"d{number}.safetensors"
        shutil.copy(part_results / "detectors/transistor.safetensors", file)
    detectors = Detectors([tmp_path])
    for name in detectors.files():
        detectors.load(name)
    assert len(detectors._loaded) == MOST_LOADED


def test_when_too_many_wait_the_next_is_refused(part_results, image):
    detectors = Detectors([part_results / "detectors"], waiting=1)
    entered, leave = threading.Event(), threading.Event()

    def slow(name):
        entered.set()
        leave.wait(20)
        raise ValueError("done")

    detectors.load = slow
    threads = [threading.Thread(target=outcome, args=(detectors, image)) for _ in range(2)]
    threads[0].start()
    assert entered.wait(20)
    threads[1].start()
    while detectors._places._value:  # until the second one waits
        pass
    with pytest.raises(BusyError, match="try again"):
        detectors.judge("transistor", image)
    leave.set()
    for thread in threads:
        thread.join()


def outcome(detectors, image):
    with pytest.raises(ValueError, match="done"):
        detectors.judge("transistor", image)


def test_touching_corners_are_one_region_and_peaks_are_ordered():
    one = np.zeros((4, 4), np.float32)
    one[0, 0] = one[1, 1] = 0.5
    one[3, 3] = 0.9
    found = regions(one, 0.4, 40, 40)
    assert [(r.x, r.y, r.width, r.height) for r in found] == [(30, 30, 10, 10), (0, 0, 20, 20)]
    assert [r.peak for r in found] == [0.9, 0.5]
    assert found[1].area == 2 / 16


def test_nothing_above_the_threshold_has_no_region():
    assert regions(np.zeros((4, 4), np.float32), 0.4, 8, 8) == []


def test_the_latest_judgments_are_kept_and_older_ones_go(detectors, image):
    kept = judgments.Kept(at_most=2)
    judged = detectors.judge("transistor", image)
    tokens = [kept.keep(judged) for _ in range(3)]
    assert kept.find(tokens[0]) is None
    found = kept.find(tokens[2])
    assert found.anomaly_map is judged.anomaly_map
    assert found.layer_maps == {}  # drawing again takes none of them
    assert len(set(tokens)) == 3


def test_an_answer_is_plain_json_with_the_map(detectors, image):
    import base64
    import io
    import json

    import tifffile

    judged = detectors.judge("transistor", image)
    said = judgments.with_map(judgments.answer(judged, judged.threshold), judged)
    again = json.loads(json.dumps(said))
    coded = base64.b64decode(again["map"]["tiff_base64"])
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(coded)), judged.anomaly_map)
    assert again["threshold_is_calibrated"] is True
    assert again["verdict"] in ("normal", "defective")


def test_a_large_picture_is_kept_small(detectors):
    judged = detectors.judge("transistor", np.zeros((1000, 3000, 3), np.uint8))
    assert judged.picture.shape == (256, 768, 3)
    assert judged.size == (3000, 1000)


def test_a_card_says_what_a_detector_learnt_and_what_its_own_run_measured():
    results = Path(index_cache.RESULTS)
    said = card_of(Detector.load(results / "detectors/mvtec_transistor.safetensors"), results)
    run = next(results.glob("runs/rd-MVTec_AD-transistor-distilled-128-s0-6c0920fb"))
    metrics = read_run(run).metrics
    own = metrics[metrics["is_default"]].set_index("metric")["value"]
    assert "Transistor</b> of MVTec AD" in said
    assert f"image AUROC {100 * own['image_auroc']:.1f}" in said
    assert "CC BY-NC-SA 4.0" in said
    assert "192 normal images" in said


def test_a_card_without_a_run_claims_no_metric_and_escapes_what_a_file_says(tmp_path):
    detector = Detector.load(Path(index_cache.RESULTS) / "detectors/tile.safetensors")
    detector.config = detector.config | {"category": "<script>alert(1)</script>"}
    said = card_of(detector, tmp_path)
    assert "AUROC" not in said
    assert "<script>" not in said.lower()
