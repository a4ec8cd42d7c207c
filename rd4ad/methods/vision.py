"""The one door to torchvision, which must also open beside a CPU build of torch.

torchvision's wheel is compiled against one build of torch. Beside another one its operators cannot
load, and its import stops at "operator torchvision::nms does not exist" although models, transforms
and datasets need none of them. Declaring the two schemas that the import looks up is enough: the
operators themselves stay absent, so detection models would still fail. Nothing here uses them.

Every torchvision import of this package goes through this module.
"""

import torch

_SCHEMAS = {  # torchvision/csrc/ops/nms.cpp and quantized/cpu/qnms_kernel.cpp
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare_missing_operators() -> list[str]:
    """Return the names of torchvision's operator schemas that were missing and are now declared."""
    missing = [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]
    for name in missing:
        torch.library.define(f"torchvision::{name}", _SCHEMAS[name])
    return missing


try:
    import torchvision  # noqa: F401  (its compiled operators load: nothing is missing)
except RuntimeError:
    declare_missing_operators()

from torchvision import datasets, models  # noqa: E402
from torchvision.models.resnet import BasicBlock, Bottleneck  # noqa: E402

__all__ = ["BasicBlock", "Bottleneck", "datasets", "declare_missing_operators", "models"]
