"""Evaluations, the tasks that carry all work to the silos, and the estimate blocks that come back."""
