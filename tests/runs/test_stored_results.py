"""Runs, detectors and permalinks made by earlier versions still work."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from rd4ad import Detector
from rd4ad.home import HOME
from rd4ad.runs.store import read_run

RUNS = sorted((HOME / "results/runs").iterdir())
DETECTORS = sorted((HOME / "results/detectors").glob("*.safetensors"))


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.name)
def test_a_stored_run_opens_with_its_images_curves_and_maps(path):
    run = read_run(path)
    assert run.record["run_id"] == path.name
    images = run.images()
    assert len(images) == run.record["n_test_images"]
    assert not run.curves().empty
    for maps in run.distances().values():
        assert len(maps) == len(images)


@pytest.mark.parametrize("path", DETECTORS, ids=lambda path: path.name)
def test_a_bundled_detector_judges_an_image(path):
    detector = Detector.load(path)
    prediction = detector.predict(np.zeros((300, 200, 3), np.uint8))[0]
    assert np.isfinite(prediction.anomaly_map).all()


def opened(page, **query):
    test = AppTest.from_file(str(HOME / page), default_timeout=60)
    for name, value in query.items():
        test.query_params[name] = value
    return test.run()


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
def test_an_earlier_permalink_opens(page, query):
    test = opened(page, **query)
    assert not test.exception
    assert test.title[0].value


def test_a_renamed_choice_of_an_earlier_permalink_is_the_present_one():
    test = opened("pages/ablations.py", across="Training besides")
    assert "Training configuration" in test.query_params["across"]
