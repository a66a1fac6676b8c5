"""What is running: every task the node has claimed lately, how far it has come, and how long it may still take."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import Blueprint, render_template

from silo_node.agent.asked import explain
from silo_node.agent.health import Health, read_health
from silo_node.agent.tasks import TaskBook, TaskRecord
from silo_node.console.desk import desk
from silo_node.console.words import TASK_STATES, moment, reason, time_left
from silo_node.policy.words import verdict_line
from silo_node.wire.checks import CheckTask
from silo_node.wire.errors import BadInput, MedSiloError
from silo_node.wire.statistics import StatisticsTask
from silo_node.wire.tasks import EvaluationTask, Task

blueprint = Blueprint("work", __name__)
_SHOWN = 30


@dataclass(frozen=True)
class Job:
    """One task as the page shows it."""

    task_id: str
    title: str
    detail: str
    state: str
    running: bool
    done: int
    total: int
    time_left: str
    refused: str
    since: datetime | None


@blueprint.get("/work")
def shown() -> str:
    """Show the tasks."""
    return render_template("work.html", jobs=jobs(), health=health_line())


@blueprint.get("/work/live")
def live() -> str:
    """Return the part of the page that changes by itself."""
    return render_template("work_live.html", jobs=jobs(), health=health_line())


@blueprint.get("/work/<task_id>")
def why(task_id: str) -> str:
    """Show which rule decides about a task, and about each model of an evaluation."""
    with desk().journal() as journal:
        record = TaskBook(journal).find(task_id)
        if record is None:
            raise BadInput("not-found", "see the list of what is running")
        found, problem = None, None
        try:
            found = explain(desk().home, desk().identity(), journal, task_id)
        except MedSiloError as error:
            problem = error
    return render_template("why.html", job=job(record), found=found, problem=problem, verdict=verdict_line)


def jobs() -> list[Job]:
    """Return the tasks that changed last, latest first."""
    if not desk().home.journal.exists():
        return []
    with desk().journal() as journal:
        return [job(record) for record in TaskBook(journal).recent(_SHOWN)]


def job(record: TaskRecord) -> Job:
    """Tell one task in words."""
    body = Task.model_validate_json(record.envelope.payload_bytes()).body
    if isinstance(body, EvaluationTask):
        count = len(body.models)
        title = f"Evaluation of {count} {'model' if count == 1 else 'models'}"
        detail = f"{body.benchmark.name} {body.benchmark.version}"
    elif isinstance(body, CheckTask):
        title, detail = "Check of a submitted model", f"{body.benchmark.name} {body.benchmark.version}"
    elif isinstance(body, StatisticsTask):
        title, detail = "Question about a cohort", f"{body.benchmark.name} {body.benchmark.version}"
    else:
        what = "Validation" if body.validate_only else f"Round {body.round} of {body.plan.rounds}"
        title, detail = f"{what}: {body.plan.title}", f"study {body.plan.name}"
    created, changed = moment(record.created), moment(record.changed)
    elapsed = (changed - created).total_seconds() if created and changed else 0.0
    running = record.state in ("claimed", "running")
    return Job(
        task_id=record.task_id,
        title=title,
        detail=detail,
        state=TASK_STATES[record.state] if not (record.state == "closed" and record.code) else "not done",
        running=running,
        done=record.done,
        total=record.total,
        time_left=time_left(record.done, record.total, elapsed) if running else "",
        refused=reason(record.code),
        since=changed,
    )


def health_line() -> dict[str, object]:
    """Return what the node last said about itself, in a sentence and whether that is well."""
    found = read_health(desk().home)
    well, sentence = _judged(found, datetime.now(UTC))
    return {"well": well, "sentence": sentence, "beat": moment(found.beat) if found else None}


def _judged(found: Health | None, now: datetime) -> tuple[bool, str]:
    if found is None or found.state == "stopped":
        return False, "The node is not running. Start it with: silo-node start"
    if not found.fresh(now):
        return False, "The node has not given a sign of life for more than a minute."
    if found.state == "hub-gone":
        return False, "The node runs, and the hub cannot be reached. It goes on trying."
    if found.state == "asked-to-wait":
        return True, "The node runs; the hub has asked it to wait a while before it asks again."
    if found.state == "refused":
        return False, f"The node runs, and is refused: {json.dumps(reason(found.code))[1:-1]}."
    if found.state == "closed":
        return True, f"The node runs; {found.code}."
    words = {"working": "at work", "waiting": "waiting for work", "starting": "starting", "stopping": "stopping"}
    return True, f"The node runs and is {words[found.state]}."
