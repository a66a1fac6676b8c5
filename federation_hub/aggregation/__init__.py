"""Turning updates into the next global model: block by block, in memory that depends on neither model nor silos.

Updates wait on disk as verified files. ``layout`` reads where the tensors of a safetensors file lie, ``checks``
decides whether an update may count, ``rules`` make one update of many, ``optimisers`` apply it to the global model,
and ``fold`` drives one of each over the files. numpy only: no torch, no Flask, no database.
"""
