"""What other packages take, in an environment of their own; see peers.py, which asks line by line.

Answers are lines of JSON: seconds, and a value where there is one.
"""

import json
import sys
import time

import numpy as np
import torch


def prepare() -> None:
    """Let the packages be imported beside this torch and this NumPy."""
    for name in ("nms", "qnms"):  # torchvision beside a CPU build, as in rd4ad.methods.vision
        if not hasattr(torch.ops.torchvision, name):
            schema = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", schema)
    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # NumPy renamed it; adeval 1.1 knows the old name alone


def main() -> None:
    """Answer until the input ends."""
    prepare()
    import adeval
    from anomalib.metrics.aupro import _AUPRO
    from anomalib.models.image.reverse_distillation.loss import ReverseDistillationLoss
    from anomalib.models.image.reverse_distillation.torch_model import ReverseDistillationModel

    folder, size_px, n_threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(n_threads)
    layers, size = ["layer1", "layer2", "layer3"], (size_px, size_px)
    model = ReverseDistillationModel("resnet18", size, layers, "add", pre_trained=False)
    trained = [*model.decoder.parameters(), *model.bottleneck.parameters()]
    optimizer = torch.optim.Adam(trained, lr=0.005, betas=(0.5, 0.99))
    loss_of = ReverseDistillationLoss()
    image, batch = torch.rand(1, 3, *size), torch.rand(16, 3, *size)
    given = np.load(f"{folder}/maps.npz")
    masks, maps = given["masks"], given["maps"]

    def inference() -> float:
        model.eval()
        with torch.inference_mode():
            return float(model(image).pred_score)

    def training() -> float:
        model.train()
        loss = loss_of(*model(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss)

    def anomalib_aupro() -> float:
        metric = _AUPRO(fpr_limit=0.3)
        metric.update(torch.from_numpy(maps), torch.from_numpy(masks.astype(np.float32)))
        return float(metric.compute())

    def adeval_metrics() -> float:
        return float(adeval.auroc_aupr_aupro(list(maps), list(masks.astype(np.uint8)))[2])

    cases = {
        "inference": inference,
        "training": training,
        "anomalib aupro": anomalib_aupro,
        "adeval metrics": adeval_metrics,
    }
    for line in sys.stdin:
        began = time.perf_counter()
        value = cases[line.strip()]()
        print(json.dumps({"seconds": time.perf_counter() - began, "value": value}), flush=True)


if __name__ == "__main__":
    main()
