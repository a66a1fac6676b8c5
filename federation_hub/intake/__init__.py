"""The intake log: every request body that arrived from a silo, so that the silo can compare it with what it sent."""
