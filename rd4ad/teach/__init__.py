"""Teach a detector a new part: photos of good parts in, a calibrated detector and its report out.

A memory of patches first, in seconds and without torch; reverse distillation in the background
where torch is there. Imports training and evaluation; the command line and the web import it.
"""
