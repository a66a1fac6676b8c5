"""Content-addressed blobs and their resumable transfer."""
