"""Entries: a model on a benchmark version, in which attempt and phase, and who is told of it."""
