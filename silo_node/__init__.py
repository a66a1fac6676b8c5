"""The hospital's side: takes in images, guards them, runs what the site's policy allows, and sends only aggregates."""

__version__ = "0.1.0"
