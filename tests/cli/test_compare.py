import json

import pytest

from rd4ad.cli.parser import main
from rd4ad.home import HOME

ROOT = HOME / "results"


def run_ids(start):
    return sorted(path.name for path in (ROOT / "runs").glob(f"{start}-*"))


def test_two_settings_are_compared_over_their_seeds(capsys):
    large = ",".join(run_ids("rd-MVTec_AD-transistor-resnet18-256-s2"))
    small = ",".join(run_ids("rd-MVTec_AD-transistor-compact-128"))
    assert main(["compare", large, small, "--results", str(ROOT), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    one = told["pixel_auroc"]
    assert one["difference"] == pytest.approx(one["first"] - one["second"])
    assert one["ci_low"] <= one["difference"] <= one["ci_high"]
    assert one["is_distinguishable"]


def test_a_run_and_itself_are_not_distinguishable(capsys):
    name = run_ids("rd-Generated_parts-tile")[0]
    assert main(["compare", name, name, "--results", str(ROOT)]) == 0
    lines = capsys.readouterr().out.splitlines()
    pixel = next(line for line in lines if line.startswith("pixel_auroc"))
    assert "+0.0" in pixel
    assert pixel.endswith("not distinguishable")


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("rd-nothing", "rd-nothing", "rd-nothing"),
        ("tile", "transistor", "not the same test images"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(capsys, first, second, said):
    names = [(run_ids(f"rd-Generated_parts-{one}") or [one])[0] for one in (first, second)]
    assert main(["compare", *names, "--results", str(ROOT)]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
