"""Runs and detectors made by earlier versions still work."""

import numpy as np
import pytest

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
