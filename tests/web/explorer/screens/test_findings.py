"""The first screen's findings: what supports them, and what makes them go."""

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


def test_the_repositorys_results_support_six_to_eight_findings(evidence):
    found = by_key(evidence)
    assert 6 <= len(found) <= 8
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


def test_a_single_run_has_no_interval_over_seeds():
    apart, low, high = transistor_findings.difference_over_seeds([0.9], [0.8, 0.81])
    assert apart == pytest.approx(0.095)
    assert np.isnan([low, high]).all()
