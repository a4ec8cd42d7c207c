"""`python -m rd4ad.cli` is `rd4ad`."""

from rd4ad.cli.parser import entry

entry()
