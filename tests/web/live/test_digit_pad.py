import shutil
import subprocess
import sys
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest

from rd4ad.evaluation.one_class import Protocol, measure
from rd4ad.inference.detector import Detector
from rd4ad.web.live import digit_pad
from rd4ad.web.live.detectors import Detectors

PAPER = np.full((280, 280), 255, np.uint8)


def stroke(top, left, height, width):
    drawn = PAPER.copy()
    drawn[top : top + height, left : left + width] = 0
    return drawn


@pytest.fixture(scope="module")
def folder(novelty_data, novelty_config, tmp_path_factory):
    """Detectors of a digit (in truth, of a bar) and of the bundled cloth."""
    results = tmp_path_factory.mktemp("digit")
    config = replace(novelty_config, holdout=0.5)
    protocol = Protocol(dataset="fashion_mnist", config=config, normalization="imagenet")
    kept = results / "detectors"
    measure(protocol, ["dress"], data=novelty_data, results=results, detectors=kept)
    shutil.move(kept / "fashion_mnist_dress.safetensors", kept / "mnist_3.safetensors")
    return kept


@pytest.mark.parametrize("place", [(0, 0), (100, 200), (180, 20)])
def test_a_drawing_is_centered_wherever_it_was_drawn(place):
    digit = digit_pad.as_digit(stroke(*place, 100, 40))
    assert digit.shape == (28, 28)
    np.testing.assert_array_equal(digit, digit_pad.as_digit(stroke(50, 50, 100, 40)))


def test_a_drawing_is_made_to_fit_twenty_pixels():
    lit = np.argwhere(digit_pad.as_digit(stroke(3, 5, 60, 250)) > 128)
    assert (lit.max(axis=0) - lit.min(axis=0) + 1).tolist() == [5, 20]


def test_an_off_center_weight_stays_inside():
    drawn = stroke(10, 10, 200, 8)
    drawn[200:210, 10:200] = 0
    assert digit_pad.as_digit(drawn).sum() > 0


def test_nothing_drawn_is_an_instruction(folder):
    with pytest.raises(ValueError, match="draw a digit first"):
        digit_pad.as_digit(PAPER)
    for empty in (None, {"composite": None}, {"composite": PAPER}):
        with pytest.raises(gr.Error, match="draw a digit first"):
            digit_pad.judged_drawing(Detectors([folder]), empty, "mnist_3")


def test_a_drawing_is_judged_as_the_detector_judges_its_picture(folder):
    drawn = stroke(20, 120, 240, 30)
    judged = digit_pad.judged_drawing(Detectors([folder]), {"composite": drawn}, "mnist_3")
    digit = digit_pad.as_digit(drawn)
    by_torch = Detector.load(folder / "mnist_3.safetensors")
    one = by_torch.predict(np.repeat(digit[..., None], 3, axis=2))[0]
    assert judged.score == pytest.approx(one.score, rel=1e-3)
    assert judged.threshold == pytest.approx(by_torch.calibration.threshold)
    assert judged.anomaly_map.sum() == pytest.approx(judged.score, rel=1e-4)


def test_another_detector_is_not_asked_about_digits(folder):
    with pytest.raises(gr.Error, match="from the list"):
        digit_pad.judged_drawing(Detectors([folder]), {"composite": PAPER}, "cloth")


def test_the_tab_is_there_where_a_digits_detector_is(folder, tmp_path):
    code = (  # in a process of its own: Gradio leaves event loops behind
        "import sys\n"
        "from pathlib import Path\n"
        "from rd4ad.web.live import interface\n"
        "from rd4ad.web.live.judgments import Kept\n"
        "from rd4ad.web.live.detectors import Detectors\n"
        "for folder in sys.argv[1:]:\n"
        "    demo = interface.build(Detectors([Path(folder)]), Kept())\n"
        "    parts = demo.config['components']\n"
        "    print(*(p['props']['label'] for p in parts if p['type'] == 'tabitem'), sep=', ')\n"
    )
    command = [sys.executable, "-c", code, str(folder), str(tmp_path)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    always = "Image, Batch, Camera, Real defects, Good parts"
    assert said == [f"{always}, Digit", always]
