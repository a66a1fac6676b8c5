"""Smaller update files: coded block by block, each of a size that is known before it is unpacked."""
