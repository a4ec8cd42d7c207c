"""Frozen backbones, and one module a method."""
