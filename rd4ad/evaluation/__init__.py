"""Measure a detector on a category: a checkpoint and a dataset in, a stored run out.

`category` follows MVTec's protocol, `one_class` that of one class against the others. The sweeps,
the export's accuracy gate and the commands use it.
"""
