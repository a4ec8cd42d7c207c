import json
from dataclasses import replace

import pytest

from rd4ad.benchmark.record import stored_fit, timed
from rd4ad.benchmark.rounds import cases_of
from rd4ad.cli.parser import main
from rd4ad.config import TrainingConfig
from rd4ad.data.folders import open_category

METHODS = ("reverse_distillation", "padim", "spade")


@pytest.fixture(scope="module")
def record(tiny_data, tmp_path_factory):
    """Three methods at 64 px, three rounds, from the command line."""
    out = tmp_path_factory.mktemp("bench") / "methods.json"
    arguments = (
        "bench", "--methods", *METHODS, "--backbone", "compact", "--size-px", "64",
        "--data", str(tiny_data), "--category", "part", "--rounds", "3", "--threads", "1",
        "--out", str(out),
    )  # fmt: skip
    assert main(arguments) == 0
    return json.loads(out.read_text())


def test_the_record_names_methods_host_and_how_it_was_measured(record):
    assert record["name"] == "methods"
    assert [row["method"] for row in record["rows"]] == list(METHODS)
    assert "1 threads" in record["note"]
    assert "median of 3" in record["note"]
    assert "14 normal images of part" in record["note"]
    assert record["host"].endswith("cores")
    assert "torch" in record["versions"]
    assert record["ratios"] == []


def test_ratios_are_to_rd4ad_and_its_own_is_one(record):
    base, *others = record["rows"]
    assert base["seconds_ratio"] == base["memory_ratio"] == 1
    assert all(row["seconds_ratio"] > 0 for row in others)
    assert all(0 < row["seconds_per_image"] <= row["max_s"] for row in record["rows"])


def test_disk_is_what_the_method_has_to_keep(record, tiny_data):
    n_images = len(open_category(tiny_data, "part").train)
    spade = next(row for row in record["rows"] if row["method"] == "spade")
    numbers = sum((64 // 2 ** (1 + layer)) ** 2 * 2 ** (4 + layer) for layer in (1, 2, 3))
    kept = n_images * (2 * numbers + 4 * 128) / 1e6  # features in 2 bytes, pooled ones in 4
    assert spade["disk_mb"] == pytest.approx(kept, abs=0.15)


def test_fits_in_one_pass_are_measured_and_trainings_extrapolated(record):
    how = {row["method"]: row["fit"] for row in record["rows"]}
    assert how["reverse_distillation"] == "extrapolated to 200 epochs"
    assert how["padim"] == how["spade"] == "measured"
    seconds = {row["method"]: row["fit_seconds"] for row in record["rows"]}
    assert seconds["reverse_distillation"] > seconds["padim"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--methods", "simplenet"), "method must be one of reverse_distillation"),
        (("--backbone", "resnet19"), "backbone must be one of"),
        (("--size-px", "100"), "try 96"),
        (("--rounds", "0"), "rounds must be 1 or more; got 0"),
        (("--threads", "0"), "n_threads must be 1 or more; got 0"),
        (("--images", "1"), "n_images must be 2 or more; got 1"),
        (("--category", "part"), "give both, or neither"),
        (("--checkpoints", "nowhere"), "found none at nowhere"),
    ],
)
def test_a_wrong_option_is_refused_before_any_work(capsys, arguments, words):
    assert main(("bench", *arguments)) == 2
    assert words in capsys.readouterr().err


def test_without_rd4ad_there_are_no_ratios():
    cases = cases_of(["padim", "spade"], ["compact"], [64])
    rows = timed(cases, [[0.1], [0.2]], [{"memory_mb": 3.0}, {"memory_mb": 4.0}])
    assert [row["seconds_ratio"] for row in rows] == [None, None]
    assert [row["memory_ratio"] for row in rows] == [None, None]


def test_memory_that_the_system_does_not_tell_is_nothing():
    row = timed(cases_of(["reverse_distillation"], ["compact"], [64]), [[0.1]],
                [{"memory_mb": float("nan")}])[0]  # fmt: skip
    assert row["memory_mb"] is row["memory_ratio"] is None


def test_a_stored_trainings_seconds_are_taken_where_it_is_of_the_case(tiny_checkpoint):
    case = TrainingConfig(backbone="compact", size_px=64)
    row = stored_fit(tiny_checkpoint.parent, case)
    assert row["fit_seconds"] >= 0
    assert row["fit_images"] == 11
    assert row["fit"] == "stored: 6 epochs"
    assert stored_fit(tiny_checkpoint.parent, replace(case, size_px=96)) == {}


def test_a_damaged_checkpoint_among_the_stored_is_named(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"cut\.safetensors is not a whole checkpoint"):
        stored_fit(tmp_path, TrainingConfig())
