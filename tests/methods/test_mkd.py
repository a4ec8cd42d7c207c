from dataclasses import replace

import numpy as np
import pytest
import torch

from rd4ad.config import TrainingConfig
from rd4ad.data.images import read_image
from rd4ad.inference.torch_engine import normalize
from rd4ad.methods.backbones import backbone_named
from rd4ad.methods.mkd import MultiresolutionDistillation, Student, loss_terms
from rd4ad.training.category import train

CONFIG = TrainingConfig(
    method="mkd", backbone="compact", size_px=64, epochs=3, batch_size=4, holdout=0.0
)


def images_of(data, folder):
    return np.stack([read_image(path) for path in sorted((data / "part" / folder).iterdir())])


def test_the_loss_terms_are_those_of_the_paper():
    teacher = [torch.randn(2, 4, 4, 4), torch.randn(2, 8, 2, 2)]
    student = [torch.randn(2, 4, 4, 4), torch.randn(2, 8, 2, 2)]
    value, direction = loss_terms(teacher, student)
    for image in range(2):
        expected_value = expected_direction = 0.0
        for t, s in zip(teacher, student, strict=True):
            a, b = t[image].flatten().tolist(), s[image].flatten().tolist()
            expected_value += sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) / len(a)
            dot = sum(x * y for x, y in zip(a, b, strict=True))
            lengths = sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5
            expected_direction += 1 - dot / lengths
        assert value[image].item() == pytest.approx(expected_value, rel=1e-5)
        assert direction[image].item() == pytest.approx(expected_direction, rel=1e-5)


def test_a_distance_is_the_total_loss_of_its_position():
    torch.manual_seed(0)
    method = MultiresolutionDistillation("compact", (1, 2, 3)).eval()
    method.student.direction_weight.fill_(0.7)
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        maps = method.distance_maps(images)
        pairs = zip(method.teacher(images), method.student(images), strict=True)
        for layer, (t, s) in enumerate(pairs, 1):
            value, direction = loss_terms([t[:1, :, 1:2, 2:3]], [s[:1, :, 1:2, 2:3]])
            expected = (value + 0.7 * direction).item()
            assert maps[layer][0, 1, 2].item() == pytest.approx(expected, rel=1e-4)


def test_both_terms_are_equal_on_the_untrained_student(tiny_data, tmp_path):
    hardly = replace(CONFIG, epochs=1, batch_size=14, learning_rate=1e-7)
    method = train(tiny_data, "part", hardly, out=tmp_path / "part.safetensors").engine.module
    images = normalize(images_of(tiny_data, "train/good"))
    with torch.no_grad():
        value, direction = loss_terms(method.chosen(images), method.student.train()(images))
    weighted = method.student.direction_weight * direction.mean()
    assert weighted.item() == pytest.approx(value.mean().item(), rel=1e-3)


@pytest.mark.parametrize("backbone", ["compact", "resnet50"])
def test_the_student_is_narrow_and_has_the_teachers_shapes_without_biases(backbone):
    shape = backbone_named(backbone)
    student = Student(shape, (1, 3))
    features = student(torch.zeros(2, 3, 64, 64))
    assert [tuple(f.shape[1:]) for f in features] == [
        (shape.channels[0], 16, 16),
        (shape.channels[2], 4, 4),
    ]
    convolutions = [m for m in student.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(m.bias is None for m in convolutions)
    assert sorted({m.out_channels for m in convolutions}) == sorted(
        {16, shape.channels[0], shape.channels[2]}
    )
