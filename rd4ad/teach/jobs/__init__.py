"""Teaching on a server: visitors' jobs as folders, their turns, their limits, their end.

`classroom` is what the web imports; `work` and `practice` do what a job asks for.
"""
