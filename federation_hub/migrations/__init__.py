"""The database's schema over time. Alembic runs here without a configuration file; see ``runner``."""

HEAD = "0015"
"""The newest migration, written down so that an up-to-date hub starts without loading Alembic."""
