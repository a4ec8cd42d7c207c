"""The Gradio live demo: an uploaded image in, a heatmap and a verdict out.

Uploads pass one door and are judged in a queue; what is kept is deleted on time. The server
imports it; it needs no torch.
"""
