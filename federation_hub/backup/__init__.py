"""Copies of a whole hub, made while it runs, and a hub made from one of them."""
