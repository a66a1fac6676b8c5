"""What people see of evaluations."""

from datetime import datetime

from silo_node.wire.base import Code, Digest, Identifier, Message, Name


class EvaluationView(Message):
    """An evaluation and how far it is. ``silo_id`` is told to the benchmark's owner and the hub's admin only."""

    evaluation_id: Identifier
    benchmark: Name
    benchmark_version: int
    silo_id: Identifier | None
    models: tuple[Digest, ...]
    attempt: int
    state: str
    task_state: str | None
    code: Code | None
    refused: dict[Digest, Code]
    """Models the site did not run, with its code for each; it ran the others."""

    held: bool
    progress_done: int
    progress_total: int
    created: datetime
    finished: datetime | None


class EvaluationList(Message):
    """Evaluations a person may see, newest first."""

    evaluations: tuple[EvaluationView, ...]
