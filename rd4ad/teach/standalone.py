"""Judge photos with a detector in ONNX: `python judge.py detector.onnx PHOTO [PHOTO ...]`.

It needs numpy, pillow and onnxruntime, and nothing else. Beside each photo it writes its heatmap.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime  # type: ignore[import-untyped]
from PIL import Image, ImageOps


def main(model: str, *photos: str) -> None:
    """Print score and verdict of each photo, and write NAME.heatmap.png beside it."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["rd4ad"])
    name, side = session.get_inputs()[0].name, about["size_px"]
    threshold = about["threshold"]
    for photo in photos:
        with Image.open(photo) as file:
            image = ImageOps.exif_transpose(file).convert("RGB")
        small = image.resize((side, side), Image.Resampling.BILINEAR)
        outputs = session.run(["anomaly_map", "score"], {name: np.asarray(small)[None]})
        anomaly_map, score = outputs[0][0], float(outputs[1][0])
        verdict = "defective" if score > threshold else "normal"
        print(f"{photo}: {verdict}, score {score:.3f}, threshold {threshold:.3f}")
        strength = np.clip(anomaly_map / (2 * threshold), 0, 1) ** 2
        mask = Image.fromarray((255 * 0.8 * strength).astype(np.uint8)).resize(image.size)
        red = Image.new("RGB", image.size, (213, 94, 0))
        Image.composite(red, image, mask).save(Path(photo).with_suffix(".heatmap.png"))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
