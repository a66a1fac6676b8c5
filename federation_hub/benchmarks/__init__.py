"""Published benchmark versions: immutable, and named by the digest of their definition."""
