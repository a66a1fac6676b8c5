"""Mutual consent: cohort and benchmark, model and benchmark, silo and study. Whoever asks cannot approve."""
