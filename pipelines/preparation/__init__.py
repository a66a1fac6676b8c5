"""Raw cases to prepared ones, by the benchmark's deterministic MONAI transforms."""
