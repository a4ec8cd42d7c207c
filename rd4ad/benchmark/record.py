"""The books of a benchmark: ratios to RD4AD, what stored files tell beside, and the record.

A case is a training configuration: the method, its backbone and the size of the images.
"""

import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from statistics import median
from typing import Any

from safetensors import SafetensorError, safe_open

from rd4ad.catalogue import DEFAULT_METHOD, NO_BACKBONE, title_of
from rd4ad.config import TrainingConfig
from rd4ad.home import commit
from rd4ad.inference.checkpoint import replace_file
from rd4ad.machine import processor

Row = dict[str, Any]


def name_of(case: TrainingConfig) -> str:
    """Return a case in words.

    >>> name_of(TrainingConfig())
    'RD4AD resnet18 256 px'
    """
    return f"{title_of(case.method)} {case.backbone} {case.size_px} px"


def base_of(case: TrainingConfig, cases: Sequence[TrainingConfig]) -> int | None:
    """Return which case is RD4AD with a case's size and backbone; the first where it has none.

    >>> cases = [TrainingConfig(method="riad"), TrainingConfig(), TrainingConfig(method="padim")]
    >>> [base_of(case, cases) for case in cases], base_of(cases[0], cases[:1])
    ([1, 1, 1], None)
    """
    for i, other in enumerate(cases):
        is_alike = case.backbone in (other.backbone, NO_BACKBONE) and case.size_px == other.size_px
        if other.method == DEFAULT_METHOD and is_alike:
            return i
    return None


def timed(
    cases: Sequence[TrainingConfig],
    seconds: Sequence[Sequence[float]],
    footprints: Sequence[dict[str, float]],
) -> list[Row]:
    """Return what each case took, with its ratios to RD4AD; None where nothing is known.

    >>> cases = [TrainingConfig(), TrainingConfig(method="padim")]
    >>> seconds, memory = [[0.1, 0.2, 0.1], [0.2, 0.4, 0.3]], [{"memory_mb": 40.0}] * 2
    >>> row = timed(cases, seconds, memory)[1]
    >>> row["seconds_ratio"], row["memory_ratio"], row["seconds_per_image"]
    (2.0, 1.0, 0.3)

    Args:
        cases: what was measured.
        seconds: by case and round.
        footprints: by case: `memory_mb` and whatever else is in MB or millions; nan if unknown.
    """
    rows = []
    for case, own, footprint in zip(cases, seconds, footprints, strict=True):
        base = base_of(case, cases)
        ratios: Row = {"seconds_ratio": None, "memory_ratio": None}
        if base is not None:
            memory = footprints[base]["memory_mb"]
            ratios = {
                "seconds_ratio": _ratio(own, seconds[base]),
                "memory_ratio": _rounded(footprint["memory_mb"] / memory, 2) if memory else None,
            }
        rows.append(
            {"method": case.method, "backbone": case.backbone, "size_px": case.size_px}
            | ratios
            | {"seconds_per_image": round(median(own), 4), "max_s": round(max(own), 4)}
            | {name: _rounded(value, 1) for name, value in footprint.items()}
        )
    return rows


def between_bases(cases: Sequence[TrainingConfig], seconds: Sequence[Sequence[float]]) -> list[Row]:
    """Return the ratios of RD4AD's other backbones and sizes to its first.

    >>> cases = [TrainingConfig(), TrainingConfig(size_px=128)]
    >>> between_bases(cases, [[0.4], [0.1]])
    [{'ratio': 'RD4AD resnet18 128 px / RD4AD resnet18 256 px', 'median': 0.25}]
    """
    own = [i for i, case in enumerate(cases) if case.method == DEFAULT_METHOD]
    return [
        {
            "ratio": f"{name_of(cases[i])} / {name_of(cases[own[0]])}",
            "median": _ratio(seconds[i], seconds[own[0]]),
        }
        for i in own[1:]
    ]


def _ratio(seconds: Sequence[float], base: Sequence[float]) -> float:
    return round(median(a / b for a, b in zip(seconds, base, strict=True)), 2)


def _rounded(value: float, digits: int) -> float | None:
    return None if value != value else round(value, digits)


def stored_fit(folder: Path, config: TrainingConfig) -> Row:
    """Return seconds and images of the first stored training of a case; nothing without one.

    >>> stored_fit(Path("results/detectors"), TrainingConfig(backbone="distilled"))["fit"]
    'stored: 60 epochs'

    Raises:
        ValueError: a file that is not a whole checkpoint.
    """
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="np") as file:
                header = json.loads((file.metadata() or {}).get("rd4ad", "{}"))
        except (SafetensorError, OSError, ValueError) as error:
            raise ValueError(
                f"{path} is not a whole checkpoint ({error}): move it out of --checkpoints"
            ) from error
        own = header.get("config", {})
        wanted = (config.method, config.backbone, config.size_px)
        if tuple(header.get(key) for key in ("method", "backbone", "size_px")) == wanted and own:
            return {
                "fit_seconds": own["seconds"],
                "fit_images": own["n_images"],
                "fit": f"stored: {own['epochs']} epochs",
            }
    return {}


def write_record(path: Path, rows: list[Row], ratios: list[Row], note: str) -> Row:
    """Write metrics and the ratios between them, with host, versions and commit; return all.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     record = write_record(Path(folder) / "a.json", [{"case": "x"}], [], "What it is.")
    >>> sorted(record)
    ['commit', 'host', 'name', 'note', 'ratios', 'rows', 'versions']
    """
    packages = ("numpy", "scipy", "scikit-learn", "torch")
    record = {
        "name": path.stem,
        "note": note,
        "host": processor(),
        "commit": commit(),
        "versions": {"python": python_version()} | {p: version(p) for p in packages},
        "rows": rows,
        "ratios": ratios,
    }
    text = json.dumps(record, indent=1, allow_nan=False) + "\n"
    replace_file(path, lambda beside: beside.write_text(text))
    return record
