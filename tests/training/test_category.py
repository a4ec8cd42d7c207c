import hashlib
import math
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from rd4ad.catalogue import BACKBONE_NAMES
from rd4ad.config import LOSS_NAMES, Stop, TrainingConfig
from rd4ad.data.folders import DatasetError, split_holdout
from rd4ad.methods.backbones import BACKBONES, Teacher
from rd4ad.methods.reverse_distillation import LOSSES, ReverseDistillation
from rd4ad.training.category import new_method, train
from rd4ad.training.session import Reporter, batches, state_path, teacher_features

CONFIG = TrainingConfig(backbone="compact", size_px=64, epochs=3, batch_size=4, holdout=0.0)
PATIENT = Stop(patience=3)


def tensors_sha256(path):
    from rd4ad.inference.checkpoint import read_checkpoint

    _, tensors = read_checkpoint(path)
    content = b"".join(tensors[key].tobytes() for key in sorted(tensors))
    return hashlib.sha256(content).hexdigest()


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tiny_data, tmp_path):
    digests = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.rand(7)  # whatever was drawn before must not matter
        out = tmp_path / f"{name}.safetensors"
        train(tiny_data, "part", replace(CONFIG, seed=seed), out=out)
        digests.append(tensors_sha256(out))
    assert digests[0] == digests[1] != digests[2]


class KilledError(Exception):
    """Stands for the end of the process in the middle of an epoch."""


def test_a_killed_training_resumes_to_the_same_weights(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("rd4ad.training.session.SAVE_EVERY_SECONDS", 0.0)
    straight, resumed = tmp_path / "straight.safetensors", tmp_path / "resumed.safetensors"
    train(tiny_data, "part", CONFIG, out=straight)

    def kill(progress):
        if progress.stage == "training" and progress.done > 20:
            raise KilledError

    with pytest.raises(KilledError):
        train(tiny_data, "part", CONFIG, out=resumed, on_progress=kill)
    assert state_path(resumed).exists()
    assert not resumed.exists()
    seen = []
    train(tiny_data, "part", CONFIG, out=resumed, on_progress=seen.append)
    assert min(p.done for p in seen if p.stage == "training") > 14  # the first epoch was kept
    assert tensors_sha256(resumed) == tensors_sha256(straight)
    assert sorted(p.name for p in tmp_path.iterdir()) == [resumed.name, straight.name]


def test_ctrl_c_leaves_a_whole_state_or_none(tiny_data, tmp_path):
    out = tmp_path / "part.safetensors"
    command = [sys.executable, "-m", "rd4ad.cli", "train", "--data", str(tiny_data)]
    command += ["--category", "part", "--backbone", "compact", "--size-px", "64"]
    command += ["--epochs", "100000", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    first = process.stderr.read(1)  # progress has begun
    time.sleep(1)
    os.kill(process.pid, signal.SIGINT)
    errors = first + process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert "stopped; what was complete is kept" in errors
    assert "Traceback" not in errors
    assert not out.exists()
    assert [p for p in tmp_path.iterdir() if not p.name.endswith(".state")] == []


def test_a_state_of_another_configuration_is_refused(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr("rd4ad.training.session.SAVE_EVERY_SECONDS", 0.0)
    out = tmp_path / "part.safetensors"

    def kill(progress):
        if progress.stage == "training" and progress.done > 20:
            raise KilledError

    with pytest.raises(KilledError):
        train(tiny_data, "part", CONFIG, out=out, on_progress=kill)
    with pytest.raises(ValueError, match="holds an unfinished training with another configuration"):
        train(tiny_data, "part", replace(CONFIG, seed=5), out=out)


@pytest.mark.parametrize("content", [b"", b"no state", b"PK\x03\x04 a torn archive"])
def test_a_damaged_state_is_named_with_the_way_out(tiny_data, tmp_path, content):
    out = tmp_path / "part.safetensors"
    state_path(out).write_bytes(content)
    with pytest.raises(ValueError, match=r"training\.state.*damaged; remove it to start again"):
        train(tiny_data, "part", CONFIG, out=out)


def test_a_training_that_diverges_stops_and_says_what_to_do(tiny_data, tmp_path, monkeypatch):
    monkeypatch.setattr(
        ReverseDistillation, "loss", lambda self, features, kind: features[0].sum() * math.nan
        + sum(p.sum() for p in self.fitted_parts().parameters()),
    )  # fmt: skip
    out = tmp_path / "part.safetensors"
    with pytest.raises(ValueError, match=r"diverged: the loss of epoch 1 is nan.*learning-rate"):
        train(tiny_data, "part", CONFIG, out=out)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_too_full_for_the_features_is_an_error_and_leaves_nothing(tiny_data, tmp_path):
    out = tmp_path / "part.safetensors"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            train(tiny_data, "part", CONFIG, out=out, cache_mib=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_bfloat16_follows_the_losses_of_float32_and_leaves_float32_weights(tiny_data, tmp_path):
    losses = []
    for precision in ("float32", "bfloat16"):
        config = replace(CONFIG, precision=precision)
        detector = train(tiny_data, "part", config, out=tmp_path / f"{precision}.safetensors")
        losses.append(detector.config["final_loss"])
        assert {str(value.dtype) for value in detector.engine.tensors().values()} == {
            "float32", "int64",
        }  # fmt: skip
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.1)


def test_patience_ends_a_training_by_held_out_normals_and_resumes_to_the_same(tiny_data, tmp_path):
    config = replace(CONFIG, holdout=0.2, epochs=300)
    straight = train(tiny_data, "part", config, out=tmp_path / "a.safetensors", stop=PATIENT)
    done = straight.config["epochs_done"]
    assert 3 < done < 300
    assert straight.config["stop"] == {"budget_minutes": None, "patience": 3}
    out = tmp_path / "b.safetensors"

    def kill(progress):
        if progress.stage == "training" and progress.done > 2 * straight.config["n_images"]:
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rd4ad.training.session.SAVE_EVERY_SECONDS", 0.0)
        with pytest.raises(KilledError):
            train(tiny_data, "part", config, out=out, stop=PATIENT, on_progress=kill)
    resumed = train(tiny_data, "part", config, out=out, stop=PATIENT)
    assert resumed.config["epochs_done"] == done
    in_files = tmp_path / "c.safetensors"
    train(tiny_data, "part", config, out=in_files, stop=PATIENT, cache_mib=0)
    assert len({tensors_sha256(path) for path in (tmp_path / "a.safetensors", out, in_files)}) == 1
    assert len(list(tmp_path.iterdir())) == 3


def test_a_budget_ends_a_training_with_the_epoch_that_fits(tiny_data, tmp_path):
    config = replace(CONFIG, epochs=100_000)
    stop = Stop(budget_minutes=0.05)
    detector = train(tiny_data, "part", config, out=tmp_path / "part.safetensors", stop=stop)
    assert 1 <= detector.config["epochs_done"] < 100_000


@pytest.mark.parametrize(
    ("config", "stop", "message"),
    [
        ({"method": "padim"}, {"patience": 3}, "padim cannot"),
        ({"holdout": 0.0}, {"patience": 3}, "holdout must be over 0"),
        ({}, {"patience": 0}, "patience must be 1 epoch or more"),
        ({}, {"budget_minutes": 0}, "budget_minutes must be over 0"),
        ({}, {"budget_minutes": math.nan}, "budget_minutes must be over 0"),
    ],
)
def test_an_early_end_that_cannot_be_is_refused_before_any_work(tmp_path, config, stop, message):
    with pytest.raises(ValueError, match=message):
        train(
            tmp_path, "none", TrainingConfig(**config),
            out=tmp_path / "a.safetensors", stop=Stop(**stop),
        )  # fmt: skip


def test_features_in_a_file_equal_features_in_memory(tmp_path):
    teacher = Teacher(BACKBONES["compact"])
    images = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3)).astype(np.uint8)
    options = {"device": "cpu", "report": Reporter(None), "file": tmp_path / "features"}
    in_memory = teacher_features(teacher, images, cache_mib=100, **options)
    assert not (tmp_path / "features").exists()
    in_file = teacher_features(teacher, images, cache_mib=0, **options)
    assert (tmp_path / "features").exists()
    for a, b in zip(in_memory, in_file, strict=True):
        assert torch.equal(a, b)


def test_features_are_computed_once_however_many_epochs(tiny_data, tmp_path, monkeypatch):
    calls = []
    forward = Teacher.forward

    def counted(self, images):
        calls.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(Teacher, "forward", counted)
    train(tiny_data, "part", CONFIG, out=tmp_path / "part.safetensors")
    assert sum(calls) == 14


def test_the_teacher_never_changes(tiny_data, tmp_path):
    from rd4ad.methods.backbones import load_teacher

    detector = train(tiny_data, "part", CONFIG, out=tmp_path / "part.safetensors")
    before = load_teacher("compact")[0].state_dict()
    for key, value in detector.engine.module.teacher.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_threshold_comes_from_held_out_normals_and_only_from_them(tiny_data, tmp_path):
    config = replace(CONFIG, holdout=0.2, quantile=0.5)
    detector = train(tiny_data, "part", config, out=tmp_path / "part.safetensors")
    assert len(detector.calibration.scores) == 3
    assert detector.calibration.threshold == np.median(detector.calibration.scores)
    assert detector.config["n_images"] == 11
    none_held = train(tiny_data, "part", CONFIG, out=tmp_path / "all.safetensors")
    assert none_held.calibration is None
    assert none_held.config["n_images"] == 14


def test_every_image_comes_once_an_epoch_and_the_order_changes():
    first, second = (
        torch.cat(list(batches(33, 16, torch.Generator().manual_seed(epoch)))) for epoch in (0, 1)
    )
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(33))
    assert first.tolist() != second.tolist()


def test_no_batch_has_one_image():
    for n in range(2, 70):
        assert min(len(batch) for batch in batches(n, 16, torch.Generator())) >= 2


def test_held_out_images_are_none_of_those_trained_on():
    kept, held = split_holdout(20, 0.25, seed=3)
    assert sorted([*kept, *held]) == list(range(20))
    assert len(held) == 5


def test_too_few_normal_images_are_refused():
    with pytest.raises(DatasetError, match="at least 2 normal images, found 1"):
        split_holdout(1, 0.0, seed=0)


@pytest.mark.parametrize("layers", [(1,), (2,), (3,), (1, 3), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_any_layer_subset_trains_with_either_loss(layers, loss):
    torch.manual_seed(0)
    method = ReverseDistillation("compact", layers)
    features = method.teacher(torch.randn(4, 3, 64, 64))
    optimizer = torch.optim.Adam(method.fitted_parts().parameters(), lr=0.005)
    losses = []
    for _ in range(5):
        value = method.loss(features, loss)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert losses[-1] < losses[0]
    parameters = method.fitted_parts().named_parameters()
    assert [name for name, p in parameters if p.grad is None] == []  # no part is idle


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_a_loss_is_the_same_however_features_lie_in_memory(loss):
    pair = torch.rand(2, 4, 8, 6, 6)  # (side, B, C, h, w)
    lying = [layer.contiguous(memory_format=torch.channels_last) for layer in pair]
    assert float(LOSSES[loss](*lying)) == pytest.approx(float(LOSSES[loss](*pair)), abs=1e-6)


def test_a_method_about_to_train_lies_channels_last():
    method = new_method(TrainingConfig(method="cutpaste", backbone="compact"), {}, None)
    filters = [weight for weight in method.parameters() if weight.ndim == 4]
    assert filters
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in filters)


def test_the_two_losses_are_what_their_names_say():
    a, b = torch.randn(2, 8, 4, 4), torch.randn(2, 8, 4, 4)

    def cosine(u, v):
        return (u * v).sum() / math.sqrt((u * u).sum() * (v * v).sum())

    flattened = np.mean([1 - cosine(a[i].flatten(), b[i].flatten()) for i in range(2)])
    positions = [(i, y, x) for i in range(2) for y in range(4) for x in range(4)]
    each = np.mean([1 - cosine(a[i, :, y, x], b[i, :, y, x]) for i, y, x in positions])
    assert LOSSES["flattened"](a, b).item() == pytest.approx(flattened, abs=1e-6)
    assert LOSSES["per_position"](a, b).item() == pytest.approx(each, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"backbone": "vgg"}, "backbone must be one of resnet18, .*got 'vgg'"),
        ({"layers": (4,)}, "layers must be a choice of 1, 2 and 3"),
        ({"size_px": 100}, "multiple of 32 from 32 to 1024; got 100, try 96"),
        ({"epochs": 0}, "epochs must lie in"),
        ({"batch_size": 1}, "batch_size must lie in"),
        ({"learning_rate": 0.0}, "learning_rate must lie in"),
        ({"loss": "l2"}, "flattened, per_position"),
        ({"precision": "int8"}, "precision must be one of float32, bfloat16"),
        ({"holdout": 0.6}, r"holdout must lie in \[0.0, 0.5\]; got 0.6"),
        ({"quantile": 0.4}, "quantile must lie in"),
        ({"seed": -1}, "seed must lie in"),
    ],
)
def test_nonsense_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        TrainingConfig(**wrong)


def test_the_names_that_a_configuration_accepts_are_those_there_are():
    assert set(BACKBONE_NAMES) == set(BACKBONES)
    assert set(LOSS_NAMES) == set(LOSSES)


def test_a_checkpoint_name_without_its_suffix_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.safetensors; got"):
        train(tmp_path, "none", out=tmp_path / "model.pth")
