"""The durable engine: DBOS Transact on SQLite or PostgreSQL, so that a study survives ``kill -9``."""
