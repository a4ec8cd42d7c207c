"""Measure what the methods cost on this host: cases in, seconds and memory out.

Cases take turns in processes of their own, so that they share the host's moods. The commands and
benchmarks/ use it.
"""
