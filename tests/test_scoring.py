import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from rd4ad.scoring import (
    Scoring,
    StreamedMaps,
    anomaly_maps,
    fused_maps,
    scores,
    upsampling,
)

SUBSETS = [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]


@pytest.fixture
def distances() -> dict[int, np.ndarray]:
    rng = np.random.default_rng(0)
    return {k: rng.random((3, s, s), dtype=np.float32) for k, s in ((1, 16), (2, 8), (3, 4))}


@pytest.mark.parametrize(("size_in", "size_out"), [(4, 64), (16, 64), (64, 64), (1, 32), (7, 31)])
def test_upsampling_is_torchs_bilinear_with_aligned_corners(size_in, size_out):
    image = torch.rand(1, 1, size_in, size_in)
    expected = torch.nn.functional.interpolate(
        image, size=(size_out, size_out), mode="bilinear", align_corners=True
    )
    matrix = upsampling(size_in, size_out)
    np.testing.assert_allclose(matrix @ image[0, 0].numpy() @ matrix.T, expected[0, 0], atol=1e-6)


@pytest.mark.parametrize("layers", SUBSETS)
@pytest.mark.parametrize("fusion", ["sum", "product"])
@pytest.mark.parametrize("sigma_px", [0.0, 2.0, 4.0, 20.0])
def test_smoothing_is_scipys_gaussian_of_the_fused_map(distances, layers, fusion, sigma_px):
    scoring = Scoring(layers=layers, fusion=fusion, sigma_px=sigma_px)
    fused = fused_maps(distances, scoring, 64)
    smooth = anomaly_maps(distances, scoring, 64)
    for plain, found in zip(fused, smooth, strict=True):
        expected = gaussian_filter(plain, sigma_px) if sigma_px else plain
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_score_depends_on_its_own_image_alone(distances):
    scoring = Scoring()
    together = scores(distances, scoring, 64)
    alone = [scores({k: d[i : i + 1] for k, d in distances.items()}, scoring, 64) for i in range(3)]
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-6)


def test_the_sum_score_is_that_of_the_unsmoothed_map(distances):
    scoring = Scoring(score="sum")
    expected = fused_maps(distances, scoring, 64).sum(axis=(1, 2))
    np.testing.assert_allclose(scores(distances, scoring, 64), expected, rtol=1e-5)


def test_layers_are_sorted_and_so_two_spellings_are_one_setting():
    assert Scoring(layers=(3, 1)) == Scoring(layers=(1, 3))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"layers": (4,)}, "layers must be a choice of 1, 2 and 3"),
        ({"layers": ()}, "layers must be"),
        ({"layers": (1, 1)}, "layers must be"),
        ({"fusion": "mean"}, "sum, product"),
        ({"score": "mean"}, "max, sum"),
        ({"sigma_px": -1.0}, r"\[0, 64\]"),
    ],
)
def test_nonsense_is_refused_with_the_choices(wrong, message):
    with pytest.raises(ValueError, match=message):
        Scoring(**wrong)


def test_a_layer_that_is_not_stored_is_named(distances):
    del distances[2]
    with pytest.raises(KeyError, match="no distance maps of layer 2"):
        anomaly_maps(distances, Scoring(), 64)


@pytest.mark.parametrize("fusion", ["sum", "product"])
def test_streamed_maps_are_the_maps(fusion, monkeypatch):
    monkeypatch.setattr("rd4ad.scoring._AT_ONCE", 3)
    rng = np.random.default_rng(0)
    distances = {1: rng.random((8, 16, 16), np.float32), 2: rng.random((8, 8, 8), np.float32)}
    scoring = Scoring(layers=(1, 2), fusion=fusion, sigma_px=2.0)
    whole = anomaly_maps(distances, scoring, 64)
    streamed = StreamedMaps(distances, scoring, 64)
    np.testing.assert_allclose(np.stack(list(streamed)), whole, rtol=1e-6)
    np.testing.assert_allclose(streamed[-1], whole[-1], rtol=1e-6)
    assert len(streamed[2:5]) == 3
    with pytest.raises(IndexError):
        streamed[8]
    np.testing.assert_allclose(scores(distances, scoring, 64), whole.max((1, 2)), rtol=1e-6)
