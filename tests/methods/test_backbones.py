import hashlib
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from rd4ad.methods import backbones
from rd4ad.methods.backbones import BACKBONES, Teacher, find_weights, load_teacher, read_state_dict


def test_features_have_the_documented_shapes():
    for shape in (BACKBONES["resnet18"], BACKBONES["resnet50"], BACKBONES["compact"]):
        features = Teacher(shape)(torch.zeros(2, 3, 64, 64))
        expected = [(2, c, s, s) for c, s in zip(shape.channels, (16, 8, 4), strict=True)]
        assert [tuple(layer.shape) for layer in features] == expected


def test_a_teacher_stays_in_evaluation_mode_without_gradients():
    teacher = Teacher(BACKBONES["compact"]).train()
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not hasattr(teacher, "layer4")


def test_weights_are_torchvisions_by_name_and_shape():
    from rd4ad.methods.vision import models

    for name in ("resnet18", "resnet34", "resnet50", "wide_resnet50_2"):
        official = models.get_model(name).state_dict()
        ours = Teacher(BACKBONES[name]).state_dict()
        assert {k: v.shape for k, v in ours.items()} == {k: official[k].shape for k in ours}


def test_a_teacher_computes_what_torchvisions_network_computes():
    from rd4ad.methods.vision import models

    official = models.resnet18().eval()
    teacher = Teacher(BACKBONES["resnet18"])
    backbones.fill_module(teacher, official.state_dict(), "torchvision")
    x = torch.rand(1, 3, 64, 64)
    y = official.maxpool(official.relu(official.bn1(official.conv1(x))))
    for layer, found in zip(("layer1", "layer2", "layer3"), teacher(x), strict=True):
        y = getattr(official, layer)(y)
        torch.testing.assert_close(found, y)


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown backbone 'resnet19'.*resnet18, resnet34"):
        find_weights("resnet19")


def test_a_folder_without_the_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights of resnet18 at .*whose name starts"):
        find_weights("resnet18", tmp_path)


def test_absent_weights_offline_say_which_file_to_put_where(tmp_path, monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("RD4AD_WEIGHTS", raising=False)
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(FileNotFoundError, match=r"resnet34-b627a593.pth into .*RD4AD_WEIGHTS"):
        find_weights("resnet34")


def test_the_environment_names_a_folder_of_weights(tmp_path, monkeypatch):
    file = tmp_path / "resnet34-mine.safetensors"
    save_file(Teacher(BACKBONES["resnet34"]).state_dict(), file)
    monkeypatch.setenv("RD4AD_WEIGHTS", str(tmp_path))
    assert find_weights("resnet34") == file


def test_weights_of_another_backbone_are_refused(tmp_path):
    file = tmp_path / "wrong.safetensors"
    save_file(Teacher(BACKBONES["compact"]).state_dict(), file)
    with pytest.raises(ValueError, match="it belongs to another backbone"):
        load_teacher("resnet18", file)


def test_a_truncated_file_is_refused_by_name(tmp_path):
    for name in ("resnet18.pth", "resnet18.safetensors"):
        file = tmp_path / name
        file.write_bytes(b"PK\x03\x04 not whole")
        with pytest.raises(ValueError, match=f"{name} is not a readable weight file"):
            read_state_dict(file)


class Code:
    """Runs a command when unpickled."""

    def __reduce__(self):
        return (print, ("code in a pickle ran",))


def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path, capsys):
    file = tmp_path / "resnet18.pth"
    torch.save({"conv1.weight": Code()}, file)
    with pytest.raises(ValueError, match="may be truncated or hold code"):
        read_state_dict(file)
    file.write_bytes(pickle.dumps(Code(), protocol=2))
    with pytest.raises(ValueError, match="may be truncated or hold code"):
        read_state_dict(file)
    assert "ran" not in capsys.readouterr().out


def test_the_bundled_teacher_loads_and_says_where_it_came_from(monkeypatch):
    monkeypatch.delenv("RD4AD_WEIGHTS", raising=False)
    teacher, origin = load_teacher("compact")
    file = backbones.WEIGHTS / "compact.safetensors"
    assert origin == {
        "name": "compact.safetensors",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
    }
    assert all(torch.isfinite(layer).all() for layer in teacher(torch.zeros(1, 3, 64, 64)))


@pytest.mark.shared
def test_the_partial_folded_file_loads(shared_dir):
    teacher, origin = load_teacher("resnet18", shared_dir / "weights")
    assert origin["name"] == "resnet18_layer1-3_bnfolded.pth"
    assert teacher(torch.zeros(1, 3, 64, 64))[2].std() > 0


def test_torchvision_imports_whether_or_not_its_operators_load():
    declared_first = (
        "import torch\n"
        "for name, args in (('nms', 'Tensor dets, Tensor scores, float iou_threshold'),"
        " ('qnms', 'Tensor dets, Tensor scores, float iou_threshold')):\n"
        "    torch.library.define(f'torchvision::{name}', f'({args}) -> Tensor')\n"
    )
    for before in ("", declared_first):
        code = before + "import rd4ad.methods.vision as v; print(v.declare_missing_operators())"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout == "[]\n", done.stderr
