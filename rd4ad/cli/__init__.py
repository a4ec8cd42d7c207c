"""The commands of `rd4ad`, by what they work on: options in, printed lines and files out.

`parser` puts them together. Nothing imports this folder; torch is imported when a command needs it.
"""
