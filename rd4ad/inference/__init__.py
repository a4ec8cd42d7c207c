"""Judge images: a checkpoint and images in, anomaly maps and scores out, as NumPy arrays.

A `Detector` runs an ONNX graph, or torch where there is a GPU or no graph. Only `torch_engine`
imports torch; everything from evaluation on may import this folder.
"""
