import shlex
from dataclasses import replace

import pandas as pd
import pytest

from rd4ad.cli.parser import build_parser
from rd4ad.runs.index import read_index
from rd4ad.runs.store import read_run
from rd4ad.web.explorer import run_text, tables
from rd4ad.web.explorer.units import FRACTION, PERCENT


@pytest.fixture(scope="module")
def run(part_results):
    return read_run(next((part_results / "runs").iterdir()))


def test_the_commands_of_a_run_are_real_ones_with_its_settings(run):
    train, evaluate = run_text.commands(run).splitlines()
    asked = build_parser().parse_args(shlex.split(train)[1:])
    config = run.record["config"]
    assert asked.layers == tuple(config["layers"])
    assert (asked.epochs, asked.seed, asked.holdout, asked.backbone, asked.size_px) == (
        config["epochs"], config["seed"], config["holdout"], config["backbone"], 64,
    )  # fmt: skip
    again = build_parser().parse_args(shlex.split(evaluate)[1:])
    assert again.dataset == run.record["dataset"]
    assert again.checkpoint == asked.out


def test_a_setting_that_is_not_the_default_is_named(run):
    config = {"batch_size": 4, "precision": "bfloat16", "sigma_px": 2.0}
    other = replace(run, record=run.record | {"config": run.record["config"] | config})
    stopped = {"stop": {"budget_minutes": None, "patience": 5}, "epochs_done": 12}
    other.record["config"].update(stopped)
    train, _ = run_text.commands(other).splitlines()
    asked = build_parser().parse_args(shlex.split(train)[1:])
    assert {name: getattr(asked, name) for name in config} == config
    assert asked.patience == 5
    assert "--learning-rate" not in train
    assert "ended after 12" in run_text.run_card(other)["Fitted on"]
    assert "bfloat16" in run_text.run_card(other)["Fitted on"]
    on_gpu = replace(run, record=run.record | {"training": {"device": "NVIDIA X"}})
    assert "on NVIDIA X" in run_text.run_card(on_gpu)["Fitted on"]


def test_a_runs_card_says_what_determines_it_and_where_it_was_measured(run):
    card = run_text.run_card(run)
    assert card["Seed"] == "0"
    assert card["Image size"] == "64 px"
    assert "held-out normal images" in card["Threshold"]
    assert card["Host"]
    assert card["Versions"].startswith("python") or "python" in card["Versions"]
    assert all(isinstance(value, str) and value for value in card.values())


def test_titles_of_runs_are_unique(part_results):
    index = read_index(part_results, is_default=True)
    twin = index.assign(run_id="rd-other-0123abcd")
    runs = tables.in_order(pd.concat([index, twin]))
    titles = [run_text.run_title(row) for row in runs.to_dict("records")]
    assert len(set(titles)) == 2


def test_metrics_are_in_the_units_that_were_chosen():
    table = pd.DataFrame({"a": [0.981, float("nan")]}, index=["tile", "metal_nut"])
    best = table > 0.9
    for units, text in ((PERCENT, "98.1"), (FRACTION, "0.981")):
        html = tables.styled(table, best, {}, units.text, heat=True).to_html()
        assert f"{tables.MARK} {text}" in html
        assert "Metal nut" in html


def test_the_spread_of_definitions_is_a_sentence():
    said = tables.spread({"a": 0.9, "b": 0.6, "c": float("nan")}, PERCENT.text)
    assert "60.0" in said
    assert "30.0" in said
    assert "Fewer than two" in tables.spread({"a": 0.9}, PERCENT.text)


def test_scores_are_told_in_words():
    images = pd.DataFrame({"label": [0, 1, 1], "score": [0.1, 0.5, 0.7]})
    assert tables.scores_in_words(images) == (
        "1 normal from 0.100 to 0.100, 2 defective from 0.500 to 0.700"
    )
