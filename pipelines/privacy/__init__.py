"""Differential privacy: the account of it, without torch, and training that keeps it."""
