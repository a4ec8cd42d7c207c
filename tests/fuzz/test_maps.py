"""Broken maps of every kind give a map or a clear error, and nothing else."""

import io
import logging
import random

import numpy as np
import pytest
import tifffile
from PIL import Image

from rd4ad.data.folders import DatasetError
from rd4ad.evaluation.map_files import decoded

ONE = np.random.default_rng(0).random((40, 40)).astype(np.float32)


def npy(file):
    np.save(file, ONE)


def png(file):
    Image.fromarray((255 * ONE).astype(np.uint8)).save(file, "PNG")


def tiff(file):
    tifffile.imwrite(file, ONE, compression="zlib")


def tiled(file):
    tifffile.imwrite(file, ONE, tile=(16, 16))


@pytest.mark.parametrize(
    ("name", "write"),
    [("a.npy", npy), ("a.png", png), ("a.tiff", tiff), ("a.tif", tiled)],
)
def test_a_broken_map_is_read_or_refused(name, write, monkeypatch):
    monkeypatch.setattr(logging.getLogger("tifffile"), "disabled", True)
    file = io.BytesIO()
    write(file)
    whole, chance, outcomes = file.getvalue(), random.Random(3), set()
    for _ in range(3000):
        content = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 4))):
            content[chance.randrange(min(len(content), 400))] = chance.randrange(256)
        if chance.random() < 0.1:
            del content[chance.randrange(len(content)) :]
        try:
            outcomes.add(decoded(bytes(content), name).ndim)
        except DatasetError as error:
            assert str(error).startswith(name)  # noqa: PT017
            outcomes.add("refused")
    assert outcomes == {2, "refused"}
