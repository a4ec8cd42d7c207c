import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from rd4ad.inference.checkpoint import SCHEMA, read_checkpoint
from rd4ad.inference.detector import Detector
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods import backbones
from rd4ad.methods.reverse_distillation import ReverseDistillation


@pytest.fixture
def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40 + i, 50, 3), dtype=np.uint8) for i in range(3)]


def test_a_prediction_has_the_documented_shapes_and_kinds(tiny_checkpoint, pictures):
    prediction = Detector.load(tiny_checkpoint).predict(pictures[0])[0]
    assert prediction.anomaly_map.shape == (64, 64)
    assert prediction.anomaly_map.dtype == np.float32
    assert [d.shape for d in prediction.distance_maps] == [(16, 16), (8, 8), (4, 4)]
    assert prediction.score == pytest.approx(prediction.anomaly_map.max())
    assert isinstance(prediction.is_anomalous, bool)


def test_paths_pil_images_and_arrays_give_one_and_the_same(tiny_checkpoint, pictures, tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pictures[0]).save(path)
    detector = Detector.load(tiny_checkpoint)
    with Image.open(path) as picture:
        found = detector.predict([str(path), path, picture, pictures[0]])
    assert len({p.score for p in found}) == 1


def test_a_score_does_not_depend_on_the_batch(tiny_checkpoint, pictures):
    detector = Detector.load(tiny_checkpoint)
    alone = [detector.predict(picture)[0].score for picture in pictures]
    together = [p.score for p in detector.predict(pictures)]
    in_pairs = [p.score for p in detector.predict(pictures, batch_size=2)]
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    np.testing.assert_allclose(alone, in_pairs, rtol=1e-5)


def test_what_was_saved_is_loaded_to_the_same_scores(tiny_checkpoint, pictures, tmp_path):
    first = Detector.load(tiny_checkpoint)
    first.save(tmp_path / "again.safetensors")
    second = Detector.load(tmp_path / "again.safetensors")
    assert second.calibration == first.calibration
    assert second.config == first.config
    assert second.scoring == first.scoring
    assert [p.score for p in first.predict(pictures)] == [p.score for p in second.predict(pictures)]


def test_half_precision_halves_the_file_and_hardly_moves_a_score(
    tiny_checkpoint, pictures, tmp_path
):
    first = Detector.load(tiny_checkpoint)
    half = tmp_path / "half.safetensors"
    first.save(half, store="float16")
    assert half.stat().st_size < 0.55 * tiny_checkpoint.stat().st_size
    for a, b in zip(first.predict(pictures), Detector.load(half).predict(pictures), strict=True):
        assert a.score == pytest.approx(b.score, rel=0.01)


def test_another_scoring_of_the_same_networks_carries_no_threshold(tiny_checkpoint, pictures):
    detector = Detector.load(tiny_checkpoint).with_scoring(layers=(3,))
    assert detector.calibration is None
    assert detector.predict(pictures[0])[0].is_anomalous is None


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), 7])
def test_what_is_no_image_is_refused(tiny_checkpoint, wrong):
    with pytest.raises(ValueError, match="expected"):
        Detector.load(tiny_checkpoint).predict([wrong])


def test_a_truncated_checkpoint_is_refused_by_name(tiny_checkpoint, tmp_path):
    broken = tmp_path / "broken.safetensors"
    for size in (0, 100, tiny_checkpoint.stat().st_size // 2):
        broken.write_bytes(tiny_checkpoint.read_bytes()[:size])
        with pytest.raises(ValueError, match=r"broken\.safetensors is not a whole"):
            Detector.load(broken)


def test_a_pickle_in_place_of_a_checkpoint_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="a pickle; checkpoints of the released code are read by"):
        Detector.load(tmp_path / "model.safetensors")


def test_tensors_without_our_header_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="no rd4ad header"):
        Detector.load(tmp_path / "other.safetensors")


def rewrite(source, target, **changes):
    header, arrays = read_checkpoint(source)
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items()}
    save_file(tensors, target, {"rd4ad": json.dumps(header | changes)})


def test_a_newer_schema_is_refused_with_the_way_out(tiny_checkpoint, tmp_path):
    rewrite(tiny_checkpoint, tmp_path / "new.safetensors", schema=SCHEMA + 1)
    with pytest.raises(ValueError, match="update rd4ad"):
        Detector.load(tmp_path / "new.safetensors")


def test_a_checkpoint_of_another_teacher_is_refused_with_both_files_named(
    tiny_checkpoint, tmp_path
):
    other = {"name": "other.pth", "sha256": "0" * 64}
    rewrite(tiny_checkpoint, tmp_path / "other.safetensors", teacher_file=other)
    with pytest.raises(ValueError, match=r"trained with the teacher file other\.pth.*compact"):
        Detector.load(tmp_path / "other.safetensors")


def test_tensors_of_another_backbone_are_refused(tiny_checkpoint, tmp_path):
    rewrite(tiny_checkpoint, tmp_path / "fewer.safetensors", layers=[3])
    with pytest.raises(ValueError, match=r"it belongs to another backbone|lacks"):
        Detector.load(tmp_path / "fewer.safetensors", engine="torch")


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        Detector.load(tmp_path / "none.safetensors")


def test_a_full_disk_leaves_the_old_checkpoint_whole(tiny_checkpoint, tmp_path, monkeypatch):
    path = tmp_path / "part.safetensors"
    path.write_bytes(tiny_checkpoint.read_bytes())

    def fill_the_disk(tensors, target, metadata):
        target.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rd4ad.inference.checkpoint.save_file", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        Detector.load(path).save(path)
    assert path.read_bytes() == tiny_checkpoint.read_bytes()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("backbone", ["resnet18", "compact"])
def test_a_checkpoint_of_the_released_code_loads(backbone, tmp_path, pictures):
    torch.manual_seed(0)
    method = ReverseDistillation(backbone)
    unused = {"conv4.weight": torch.zeros(1)}  # the released file carries layers it never uses
    state = {"bn": method.bottleneck.state_dict() | unused, "decoder": method.student.state_dict()}
    torch.save(state, tmp_path / "official.pth")
    teacher = tmp_path / "teacher.safetensors"
    save_file(method.teacher.state_dict(), teacher)
    detector = Detector.from_official(
        tmp_path / "official.pth", backbone=backbone, weights=teacher, size_px=64
    )
    with torch.no_grad():
        images = np.stack([np.zeros((64, 64, 3), np.uint8)])
        expected = method.eval().distance_maps(normalize(images))
    found = detector.distances(images)
    assert list(found) == [1, 2, 3]
    for layer, stack in expected.items():
        np.testing.assert_allclose(found[layer], stack.numpy(), atol=1e-6)


def test_a_released_checkpoint_of_another_backbone_is_refused(tmp_path):
    method = ReverseDistillation("compact")
    state = {"bn": method.bottleneck.state_dict(), "decoder": method.student.state_dict()}
    torch.save(state, tmp_path / "official.pth")
    teacher = tmp_path / "teacher.safetensors"
    save_file(backbones.Teacher(backbones.BACKBONES["resnet18"]).state_dict(), teacher)
    with pytest.raises(ValueError, match=r"\('bn'\).*another backbone"):
        Detector.from_official(tmp_path / "official.pth", backbone="resnet18", weights=teacher)


def test_a_file_without_bn_and_decoder_is_no_released_checkpoint(tmp_path):
    torch.save({"model": {}}, tmp_path / "official.pth")
    with pytest.raises(ValueError, match="expected the entries 'bn' and 'decoder', found model"):
        Detector.from_official(tmp_path / "official.pth")


@pytest.mark.parametrize("size_px", [100, 0, 2048])
def test_a_size_that_the_networks_cannot_halve_is_refused(size_px, tiny_checkpoint):
    detector = Detector.load(tiny_checkpoint)
    with pytest.raises(ValueError, match="multiple of 32"):
        Detector(detector.engine, size_px=size_px, scoring=detector.scoring, teacher_file={})
