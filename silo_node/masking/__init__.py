"""A silo's part in secure aggregation: the protocol as pure steps, its state on disk, and the desk that drives it."""
