"""One module a change of the schema, applied in order."""
