"""Checks of submitted models by a silo of the operator, before any hospital gets them."""
