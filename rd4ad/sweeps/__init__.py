"""Train and evaluate many cells: a grid file in, stored runs out.

Local workers or a Ray cluster take the cells; a forecast says what they cost, and missing cells can
be listed. The commands use it.
"""
