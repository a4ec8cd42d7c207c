"""Write the anomaly maps of an anomalib model so that `rd4ad score` and Compare yours read them.

Run it where anomalib is installed (tried with 2.7.0); nothing of this repository is needed:

    python anomalib_maps.py --data MVTEC --category bottle --out maps
    rd4ad score --maps maps --data MVTEC --category bottle

It fits PaDiM; put your own model in its place. `engine.predict` gives one map an image, and the
name of its file: that is all it takes. The maps are taken as they leave the model, before anomalib
normalizes and clips them, which would make pixels equal that were not.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch


def main() -> None:
    """Fit, predict, and write one .npy a test image; print anomalib's own metrics as JSON."""
    parser = argparse.ArgumentParser(description="Write anomalib's anomaly maps as .npy files.")
    parser.add_argument("--data", type=Path, required=True, help="folder of categories")
    parser.add_argument("--category", required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--random", action="store_true", help="random weights: no download")
    options = parser.parse_args()

    from anomalib.data import MVTecAD
    from anomalib.engine import Engine
    from anomalib.metrics import AUROC, Evaluator
    from anomalib.models import Padim
    from anomalib.post_processing import PostProcessor

    torch.manual_seed(0)
    data = MVTecAD(
        root=options.data, category=options.category, train_batch_size=8, eval_batch_size=8,
        num_workers=0,
    )  # fmt: skip
    metrics = Evaluator(
        test_metrics=[
            AUROC(fields=["pred_score", "gt_label"], prefix="image_"),
            AUROC(fields=["anomaly_map", "gt_mask"], prefix="pixel_"),
        ]
    )
    model = Padim(
        pre_trained=not options.random, evaluator=metrics, visualizer=False,
        post_processor=PostProcessor(enable_normalization=False),
    )  # fmt: skip
    engine = Engine(accelerator="cpu", default_root_dir=options.out / "anomalib", logger=False)
    engine.fit(model=model, datamodule=data)
    tested = engine.test(model=model, datamodule=data)
    for batch in engine.predict(model=model, datamodule=data):
        for path, one in zip(batch.image_path, batch.anomaly_map, strict=True):
            target = options.out / Path(path).parent.name / f"{Path(path).stem}.npy"
            target.parent.mkdir(parents=True, exist_ok=True)
            np.save(target, one.squeeze().cpu().numpy().astype(np.float32))
    print(json.dumps(tested[0]))


if __name__ == "__main__":
    main()
