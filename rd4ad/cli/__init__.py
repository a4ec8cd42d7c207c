"""The commands of `rd4ad`, by what they work on."""
