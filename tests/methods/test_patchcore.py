"""PatchCore against its equations written out position by position, and its graph against torch."""

from math import exp

import numpy as np
import pytest
import torch

from rd4ad.inference.graph import build_graph, build_patch_graph
from rd4ad.inference.onnx_session import OnnxModel, split_weights
from rd4ad.inference.torch_engine import TorchEngine, normalize
from rd4ad.methods.backbones import load_teacher
from rd4ad.methods.coreset import N_NEIGHBORS
from rd4ad.methods.patchcore import PatchCore, by_row
from rd4ad.scoring import IMAGE

SIZE_PX = 64


def images(n, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 240, (n, 8, 8, 3), np.uint8)
    noise = rng.integers(0, 16, (n, 64, 64, 3), np.uint8)  # no two patches are equal
    return coarse.repeat(8, 1).repeat(8, 2) + noise


def method_with_memory(n_rows=40, place=0.0, layers=(2, 3), pool=1):
    teacher, _ = load_teacher("distilled")
    method = PatchCore("distilled", layers, teacher=teacher, n_rows=n_rows, place=place, pool=pool)
    rows = by_row(method.joined(method.averaged(normalize(images(16)))))
    picked = torch.randperm(len(rows), generator=torch.Generator().manual_seed(1))[:n_rows]
    method.memory.get_buffer("patches").copy_(rows[picked])
    return method


def header_of(method, score):
    return {
        "method": "patchcore", "backbone": method.backbone, "layers": list(method.layers),
        "settings": method.settings, "size_px": SIZE_PX, "calibration": None, "config": {},
        "scoring": {"layers": list(method.layers[:1]), "score": score},
        "teacher_file": {"name": "", "sha256": ""},
    }  # fmt: skip


def by_the_equations(method, image):
    """One loop a position, in double precision: eq. 2, then eq. 6 and 7 of the paper."""
    features = [f[0].double().numpy() for f in method.teacher(normalize(image[None]))[1:]]
    averaged = []
    for x in features:
        side = x.shape[1]
        mean = np.zeros_like(x)
        for i in range(side):
            for j in range(side):
                for di in (-1, 0, 1):
                    for dj in (-1, 0, 1):
                        if 0 <= i + di < side and 0 <= j + dj < side:
                            mean[:, i, j] += x[:, i + di, j + dj] / 9
        averaged.append(mean)
    fine, coarse = averaged
    side = fine.shape[1]
    enlarged = np.zeros((len(coarse), side, side))
    for i in range(side):
        for j in range(side):
            at = [max((k + 0.5) / 2 - 0.5, 0) for k in (i, j)]
            low = [int(a) for a in at]
            high = [min(a + 1, side // 2 - 1) for a in low]
            w = [a - b for a, b in zip(at, low, strict=True)]
            for y, wy in ((low[0], 1 - w[0]), (high[0], w[0])):
                for x, wx in ((low[1], 1 - w[1]), (high[1], w[1])):
                    enlarged[:, i, j] += wy * wx * coarse[:, y, x]
    patches = np.concatenate([fine, enlarged]).reshape(-1, side * side).T
    memory = method.memory.get_buffer("patches").double().numpy()
    distances = np.array([min(np.linalg.norm(p - m) for m in memory) for p in patches])
    worst = patches[distances.argmax()]
    nearest = memory[np.argmin([np.linalg.norm(worst - m) for m in memory])]
    crowd = sorted(memory, key=lambda m: np.linalg.norm(nearest - m))[:N_NEIGHBORS]
    total = sum(exp(np.linalg.norm(worst - m)) for m in crowd)
    weight = 1 - exp(distances.max()) / total
    return distances.reshape(side, side), weight * distances.max()


def test_maps_and_scores_are_those_of_the_equations():
    method = method_with_memory()
    found = TorchEngine(method).distances(images(2, seed=5), (2,))
    for i, image in enumerate(images(2, seed=5)):
        distances, score = by_the_equations(method, image)
        np.testing.assert_allclose(found[2][i], distances, rtol=2e-4)
        np.testing.assert_allclose(found[IMAGE][i, 0, 0], score, rtol=2e-4)


@pytest.mark.parametrize("score", ["image", "max"])
@pytest.mark.parametrize(("place", "pool"), [(0.0, 1), (3.0, 1), (2.0, 2)])
@pytest.mark.parametrize("n_rows", [5, 60])
@pytest.mark.parametrize("layers", [(2, 3), (1, 3), (3,)])
def test_the_graph_gives_what_torch_gives(score, place, pool, n_rows, layers):
    method = method_with_memory(n_rows, place, layers, pool)
    teacher = {name: value.numpy() for name, value in method.teacher.state_dict().items()}
    engine = TorchEngine(method)
    model = build_graph(header_of(method, score), engine.tensors(), teacher)
    batch = images(5, seed=3)
    found = OnnxModel(*split_weights(model)).run(batch)
    wanted = engine.distances(batch, layers[:1])
    scale = wanted[layers[0]].max()
    np.testing.assert_allclose(found.distances[layers[0]], wanted[layers[0]], atol=2e-3 * scale)
    assert (IMAGE in found.distances) == (score == "image")
    if score == "image":
        np.testing.assert_allclose(found.scores, wanted[IMAGE][:, 0, 0], rtol=1e-4)


def test_a_memory_of_several_blocks_is_searched_whole(monkeypatch):
    monkeypatch.setattr("rd4ad.inference.memory_graph.SEARCHED_AT_ONCE", 16)
    monkeypatch.setattr("rd4ad.methods.patchcore.SEARCHED_AT_ONCE", 7)
    test_the_graph_gives_what_torch_gives("image", 2.0, 1, 60, (2, 3))


@pytest.mark.parametrize("pool", [1, 2])
def test_patches_by_onnx_are_those_of_torch(pool):
    method = method_with_memory(pool=pool)
    teacher = {name: value.numpy() for name, value in method.teacher.state_dict().items()}
    graph = build_patch_graph(teacher, (2, 3), SIZE_PX, pool=pool)
    batch = images(3)
    found = OnnxModel(*split_weights(graph)).outputs(batch)["patches"]
    wanted = by_row(method.joined(method.averaged(normalize(batch)))).view(3, -1, found.shape[2])
    np.testing.assert_allclose(found, wanted, atol=1e-5 * float(wanted.abs().max()))
