"""The first screen's findings: what supports them, and what makes them go."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import ttest_ind

from rd4ad.web.explorer import charts
from rd4ad.web.explorer.screens import findings, transistor_findings
from rd4ad.web.explorer.units import FRACTION, PERCENT

RESULTS = Path(__file__).resolve().parents[4] / "results"


@pytest.fixture(scope="module")
def evidence():
    return findings.read_evidence(RESULTS)


def by_key(evidence, units=PERCENT):
    return {one.key: one for one in findings.supported_findings(evidence, units)}


def test_the_repositorys_results_support_six_to_nine_findings(evidence):
    found = by_key(evidence)
    assert 6 <= len(found) <= 9
    for one in found.values():
        assert one.number
        assert len(one.marks) >= 2
        assert len(charts.evidence(one).data) == 1


def test_a_difference_is_that_of_the_runs_and_so_is_its_interval(evidence):
    rows = evidence.transistor
    own = rows[
        (rows["method"] == "reverse_distillation") & (rows["backbone"] == "resnet18")
        & (rows["size_px"] == 256) & (rows["epochs"] == 200) & (rows["variant"] == "")
        & (rows["fusion"] == "sum") & (rows["smoothing"] == 4)
    ]  # fmt: skip
    deep, all_of_them = (own.loc[own["layers"] == x, "pixel_auroc"] for x in ("3", "1+2+3"))
    found = by_key(evidence)["layers"]
    assert found.number == f"{100 * (deep.mean() - all_of_them.mean()):+.1f}"
    low, high = ttest_ind(deep, all_of_them, equal_var=False).confidence_interval(0.95)
    assert f"{100 * low:+.1f} to {100 * high:+.1f} over {len(deep)} seeds" in found.about


def test_a_finding_whose_evidence_is_missing_does_not_appear(evidence):
    keys = set(by_key(evidence))
    assert "agreement" not in by_key(replace(evidence, agreement=[]))
    without_runs = set(by_key(replace(evidence, runs=None, transistor=None)))
    assert without_runs == keys & {"agreement", "average", "cost"}


def test_a_finding_that_the_runs_no_longer_support_does_not_appear(evidence):
    rows = evidence.transistor.copy()
    rows["pixel_auroc"] = 0.9 + 0.001 * rows["seed"]
    found = by_key(replace(evidence, transistor=rows))
    assert not {"layers", "size"} & set(found)


def test_one_model_for_several_categories_is_compared_with_those_of_one(evidence):
    runs = evidence.runs
    together = runs[runs["variant"] == "multi-class of 3, bfloat16"]
    alone = runs[
        (runs["variant"] == "bfloat16") & (runs["epochs"] == 50) & (runs["size_px"] == 128)
        & (runs["backbone"] == "resnet18") & runs["category"].isin(together["category"])
    ]  # fmt: skip
    found = by_key(evidence)["one_for_all"]
    means = [rows.groupby("category")["image_auroc"].mean() for rows in (together, alone)]
    assert found.number == f"{100 * (means[0] - means[1]).mean():+.1f}"
    assert len(found.marks) == 6
    for apart, claim in ((-0.2, "less on bottle and pill and transistor"), (0, "as much as 3")):
        worse = runs.copy()
        worse.loc[together.index, "image_auroc"] += apart
        assert claim in by_key(replace(evidence, runs=worse))["one_for_all"].claim
    single = replace(evidence, runs=runs.drop(index=together.index))
    assert "one_for_all" not in by_key(single)


def test_values_are_in_the_units_that_were_chosen(evidence):
    in_percent, as_fraction = by_key(evidence), by_key(evidence, FRACTION)
    assert "96.03" in in_percent["average"].number
    assert "0.9603" in as_fraction["average"].number
    shared = {"cost", "agreement"}
    for key in set(in_percent) - shared:
        pairs = zip(in_percent[key].marks, as_fraction[key].marks, strict=True)
        assert all(one.value == pytest.approx(100 * other.value) for one, other in pairs)


def test_what_three_seeds_tell_apart_is_welchs_test_at_its_limit():
    least = findings.least_difference(0.01, 3)
    values = np.array([-1.0, 0.0, 1.0]) * 0.01  # of standard deviation 0.01
    assert ttest_ind(values + least * 1.001, values, equal_var=False).pvalue < 0.05
    assert ttest_ind(values + least * 0.999, values, equal_var=False).pvalue > 0.05


@pytest.mark.parametrize("other", [[0.8, 0.81], [0.8, 0.8, 0.8], [0.7, 0.9, 0.8, 0.6]])
def test_the_interval_is_welchs(other):
    one = [0.9, 0.93, 0.91]
    found = transistor_findings.difference_over_seeds(one, other)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of equal values
        low, high = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert found == pytest.approx((np.mean(one) - np.mean(other), low, high))


def test_seeds_that_all_agree_differ_by_what_they_differ_by():
    assert transistor_findings.difference_over_seeds([0.9, 0.9], [0.8, 0.8]) == pytest.approx(
        (0.1, 0.1, 0.1)
    )


def test_a_single_run_has_no_interval_over_seeds():
    apart, low, high = transistor_findings.difference_over_seeds([0.9], [0.8, 0.81])
    assert apart == pytest.approx(0.095)
    assert np.isnan([low, high]).all()
