"""``medsilo demo``: a whole federation on one machine, as separate processes that talk only over HTTP on 127.0.0.1."""
