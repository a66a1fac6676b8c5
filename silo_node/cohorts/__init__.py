"""Cohorts: which raw cases answer a benchmark, split by patient, prepared, frozen, fingerprinted and registered."""
