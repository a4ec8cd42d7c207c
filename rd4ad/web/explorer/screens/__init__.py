"""One module a page of the explorer, for what that page alone draws.

Stored runs and published values in, tables and charts out. Its own page imports it.
"""
