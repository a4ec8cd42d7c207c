"""Keep and read results: run folders in, tables, intervals and recomputed maps out.

The run store, the index over it, merging, values from papers, comparison, recomputed scoring.
Everything from evaluation on may import this folder; it needs no torch.
"""
