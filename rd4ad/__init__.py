"""RD4AD Explorer: anomaly detection by reverse distillation, its metrics and its live demo.

The names below load on first use, so that `import rd4ad` is quick and needs no torch.
"""

from importlib import import_module
from typing import Any

from rd4ad.machine import keep_to_itself, rest_when_idle, sort_quickly

__version__ = "0.1.0"

_HOMES = {
    "Detector": "rd4ad.inference.detector",
    "Prediction": "rd4ad.inference.prediction",
    "ReverseDistillation": "rd4ad.methods.reverse_distillation",
    "Scoring": "rd4ad.scoring",
    "TrainingConfig": "rd4ad.config",
    "train": "rd4ad.training.category",
    "evaluate": "rd4ad.evaluation.category",
    "metrics": "rd4ad.metrics",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rd4ad' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return home if name == "metrics" else getattr(home, name)


keep_to_itself()
sort_quickly()
rest_when_idle()
