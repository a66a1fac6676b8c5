"""Turning updates into the next global model: block by block, in memory that depends on neither model nor silos.

Updates wait on disk as verified files. ``layout`` reads where the tensors of a safetensors file lie, ``checks``
decides whether an update may count, ``strategies`` holds the rules, one small pure function each, and ``fold`` drives
a rule over the files. numpy only: no torch, no Flask, no database.
"""
