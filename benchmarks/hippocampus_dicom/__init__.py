"""See README.md and benchmark.toml in this folder."""
