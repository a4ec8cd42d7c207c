"""Write a detector for other runtimes: a checkpoint in, one file and its measured accuracy out.

ONNX in float32, int8 or float16; a gate measures what lower precision costs before it is written.
Imports evaluation; the commands use it.
"""
