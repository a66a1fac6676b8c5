"""This site's part in a study without an aggregator: its own model, its sealing key, and what neighbours show it."""
