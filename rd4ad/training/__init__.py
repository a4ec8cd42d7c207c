"""Train a category: normal images and a training configuration in, a checkpoint out.

A session keeps what the epochs share: the teacher's features, the optimizer, a state to resume
from. How the bundled teacher was made is here too. Needs torch; evaluation and the commands use it.
"""
