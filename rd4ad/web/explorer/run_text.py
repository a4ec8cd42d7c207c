"""A stored run in words: its label, its card, and the commands that make it again."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any

from rd4ad.catalogue import DEFAULT_METHOD, METHODS, NO_BACKBONE, title_of
from rd4ad.config import TrainingConfig
from rd4ad.data.one_class import PROTOCOL, TITLES
from rd4ad.home import has_commit
from rd4ad.runs.run import Run
from rd4ad.web.explorer.style import BACKBONES

_ALWAYS_NAMED = ("method", "backbone", "size_px", "layers", "epochs", "seed", "holdout")


def run_card(run: Run, detector: str = "") -> dict[str, str]:
    """Return what determines a run and where it was measured, by name.

    Args:
        run: a stored one.
        detector: address of its detector on the Hub, if it is there.
    """
    record = run.record
    config, training = record["config"], record.get("training", {})
    data = f"{record['dataset']} / {record['category']}"
    schedule = [
        f"{config['epochs']} epochs" if config.get("epochs") else "one pass",
        f"ended after {config['epochs_done']}" if "epochs_done" in config else "",
        config.get("precision", ""),  # float32 goes unsaid
        f"{config['n_images']} normal images" if "n_images" in config else "",
        _lasted(training["seconds"]) if "seconds" in training else "",
        f"on {training['device']}" if "device" in training else "",
    ]
    return {
        "Method": title_of(record["method"]),
        "Data": f"{data}, {record['n_test_images']} test images",
        "Backbone": BACKBONES.get(record["backbone"], record["backbone"]),
        "Weights sha256": record["teacher_sha256"][:16] + "…",
        "Image size": f"{record['size_px']} px",
        "Seed": str(record["seed"]),
        "Fitted on": ", ".join(filter(None, schedule)) if config else "not known",
        "Scoring": ", ".join(f"{key} {value}" for key, value in record["scoring"].items()),
        "Threshold": record.get("threshold_note") or f"{record.get('threshold'):.4f}",
        "Commit": (record["commit"][:12] or "not known")
        + (", not in the history any more" if has_commit(record["commit"]) is False else ""),
        "Host": record["host_cpu"],
        "Measured in": f"{record['seconds']} s"
        + (f", peak {record['peak_mib']} MiB" if record["peak_mib"] else "")
        + (f", by {record['engine']}" if "engine" in record else ""),
        "Versions": ", ".join(f"{k} {v}" for k, v in record["versions"].items()),
        "Run": record["run_id"],
    } | ({"Detector": detector} if detector else {})


def _lasted(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def commands(run: Run) -> str:
    """Return the commands that train and measure such a run again."""
    record, config = run.record, run.record["config"]
    chosen = " ".join(f"--{name.replace('_', '-')} {text}" for name, text in _chosen(record))
    category, dataset = record["category"], record["dataset"]
    if dataset in TITLES:
        limits = {"--n-train": config["n_train"], "--n-test": config["n_test"]}
        more = "".join(f" {name} {n}" for name, n in limits.items() if n)
        return (
            f"rd4ad novelty --data DIR --dataset {TITLES[dataset]} --normal {category} {chosen} "
            f"--normalization {config['normalisation']}{more}"
        )
    return (
        f"rd4ad train --data DIR --category {category} {chosen} --out {category}.safetensors\n"
        f"rd4ad evaluate {category}.safetensors --data DIR --category {category} "
        f'--dataset "{dataset}"'
    )


def _chosen(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings that a command has to name: the telling ones, and all but the defaults."""
    config, method = record["config"], record["method"]
    default = asdict(TrainingConfig(method=method)) if method in METHODS else {}
    if record["dataset"] in TITLES:
        default |= PROTOCOL
    for field in fields(TrainingConfig):
        value = record.get(field.name, config.get(field.name))
        if value is None or (field.name == "method" and value == DEFAULT_METHOD):
            continue
        value = tuple(value) if isinstance(value, list) else value
        if field.name in _ALWAYS_NAMED or value != default.get(field.name):
            yield field.name, "+".join(map(str, value)) if field.name == "layers" else str(value)
    for name, value in config.get("stop", {}).items():
        if value is not None:
            yield name, str(value)


def setting_label(row: Mapping[Any, Any]) -> str:
    """Return what runs that differ by seed share: method, backbone, size and schedule."""
    method, epochs = row["method"], row["epochs"]
    words = [network_label(row)]
    if method in METHODS and epochs not in (METHODS[method].epochs, None) and epochs == epochs:
        words.append(f"{epochs:g} epochs")
    words += [row["variant"]] if row["variant"] else []
    return ", ".join(words)


def network_label(row: Mapping[Any, Any]) -> str:
    """Return method, backbone and image size of a run.

    >>> network_label({"method": "padim", "backbone": "resnet18", "size_px": 256})
    'PaDiM R18 256 px'
    """
    backbone = row["backbone"]
    network = "" if backbone == NO_BACKBONE else f" {BACKBONES.get(backbone, backbone)}"
    return f"{title_of(row['method'])}{network} {row['size_px']} px"


def run_label(row: Mapping[Any, Any]) -> str:
    """Return what tells a run apart from its neighbors: its setting and its seed."""
    return f"{setting_label(row)}, seed {row['seed']}"


def run_title(row: Mapping[Any, Any]) -> str:
    """Return what tells a run apart within its category; unique by its id's hash."""
    return f"{run_label(row)} · {row['run_id'].rpartition('-')[2]}"
