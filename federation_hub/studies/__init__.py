"""Federated studies: consent, rounds of k of n updates with a deadline, and the model that comes out."""
