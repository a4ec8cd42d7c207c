"""Judge an image with an exported detector: needs onnxruntime, numpy and pillow, nothing else.

First:  rd4ad export results/detectors/bottle.safetensors --out bottle.onnx
Then:   python export_example.py bottle.onnx part.png map.tiff
"""

import json
import os
import sys

import numpy as np
from PIL import Image

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before the import; otherwise it reports to its makers
import onnxruntime

model, picture, out = sys.argv[1:]
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["rd4ad"])

side = about["size_px"]
image = Image.open(picture).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
batch = np.asarray(image)[None]  # (1, S, S, 3) uint8
anomaly_map, score = session.run(["anomaly_map", "score"], {"image": batch})

Image.fromarray(anomaly_map[0]).save(out)  # float32
threshold = about["threshold"]  # None: the detector was not calibrated
verdict = "" if threshold is None else "defective" if score[0] > threshold else "normal"
print(json.dumps({"score": float(score[0]), "threshold": threshold, "verdict": verdict}))
