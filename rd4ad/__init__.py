"""RD4AD Explorer: anomaly detection by reverse distillation, its figures and its live demo.

The names below load on first use, so that `import rd4ad` is quick and needs no torch.
"""

from importlib import import_module
from typing import Any

from rd4ad.processor import sort_quickly

__version__ = "0.1.0"

_HOMES = {
    "Detector": "rd4ad.detector",
    "Prediction": "rd4ad.prediction",
    "ReverseDistillation": "rd4ad.methods.reverse_distillation",
    "Scoring": "rd4ad.scoring",
    "TrainingConfig": "rd4ad.config",
    "train": "rd4ad.training",
    "evaluate": "rd4ad.evaluation",
    "metrics": "rd4ad.metrics",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rd4ad' has no attribute {name!r}")
    home = import_module(_HOMES[name])
    return home if name == "metrics" else getattr(home, name)


sort_quickly()
