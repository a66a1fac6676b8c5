"""What the node is, holds and does, in one look; and what somebody should see to."""

import fcntl
from collections import Counter
from typing import Any

from silo_node.catalogue import Catalogue
from silo_node.config import NodeConfig
from silo_node.doctor.report import last_report
from silo_node.identity import Identity, check_hub_key, dial, load_identity
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.outbox.states import LIVE
from silo_node.sandbox.grant import sandbox_of
from silo_node.sandbox.unjailed import WARNING
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError


def overview(home: Home, config: NodeConfig) -> dict[str, Any]:
    """Return everything ``silo-node status`` shows, as plain JSON values."""
    warnings: list[dict[str, str]] = []
    node: dict[str, Any] = {"home": str(home.path), "running": node_runs(home), "data": config.provenance}
    try:
        identity = load_identity(home)
        node |= _enrolled(identity, home, config, warnings)
    except MedSiloError as error:
        warnings.append(_warning(error))
    warnings += _sandbox_warnings(config)
    warnings += _doctor_warnings(home)
    if home.journal.exists():
        return {"node": node, "cohorts": _cohorts(home), **_work(home), "warnings": warnings}
    return {"node": node, "cohorts": _cohorts(home), "tasks": [], "outbox": [], "warnings": warnings}


def contents(home: Home) -> dict[str, dict[str, int]]:
    """Return how many cohorts, tasks and items of the outbox there are by state, and refused files by code."""
    counts: dict[str, dict[str, int]] = {"cohorts": {}, "quarantine": {}, "tasks": {}, "outbox": {}}
    if home.catalogue.exists():
        with Catalogue(home.catalogue) as catalogue:
            counts["cohorts"] = Counter(row.state for row in catalogue.cohorts())
            counts["quarantine"] = Counter(row.code for row in catalogue.quarantine())
    if home.journal.exists():
        journal = Journal(home)
        for table in ("task", "outbox"):
            rows = journal.rows(f"SELECT state, count(*) AS found FROM {table} GROUP BY state")  # noqa: S608  # literals
            counts["tasks" if table == "task" else table] = {row["state"]: row["found"] for row in rows}
        journal.close()
    return counts


def node_runs(home: Home) -> bool:
    """Return whether a node runs on this folder now."""
    try:
        with (home.path / "agent.lock").open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _enrolled(identity: Identity, home: Home, config: NodeConfig, warnings: list[dict[str, str]]) -> dict[str, Any]:
    enrolment = identity.enrolment
    node = {
        "silo": enrolment.silo_name,
        "silo_id": enrolment.silo_id,
        "hub": config.hub_url or enrolment.hub_url,
        "fingerprint": enrolment.fingerprint,
        "state": "unknown",
    }
    hub = dial(home, config, identity)
    try:
        seen = hub.status()
        check_hub_key(enrolment, seen)
        node["state"] = seen.state
        if seen.state != "active":
            warnings.append({"code": "silo-not-active", "text": f"the hub sees this silo as {seen.state}"})
    except MedSiloError as error:
        warnings.append(_warning(error))
    finally:
        hub.close()
    return node


def _sandbox_warnings(config: NodeConfig) -> list[dict[str, str]]:
    if config.development_no_sandbox:
        return [{"code": "sandbox-unavailable", "text": WARNING}]
    try:
        sandbox_of(config)
    except MedSiloError as error:
        return [_warning(error)]
    return []


def _doctor_warnings(home: Home) -> list[dict[str, str]]:
    """Return what the doctor found last, failed or worth a look, as far as this look has not shown it itself."""
    report = last_report(home)
    if report is None:
        return []
    return [
        {"code": finding.code, "text": f"{finding.text}. {finding.remedy or ''} (silo-node doctor, {report.at:%d %b})"}
        for finding in (*report.failed, *report.warnings)
    ]


def _cohorts(home: Home) -> list[dict[str, Any]]:
    if not home.catalogue.exists():
        return []
    with Catalogue(home.catalogue) as catalogue:
        return [
            {
                "cohort": row.cohort_id,
                "benchmark": f"{row.benchmark} {row.version}",
                "state": row.state,
                "cases": row.facts.get("cases"),
            }
            for row in catalogue.cohorts()
        ]


def _work(home: Home) -> dict[str, Any]:
    from silo_node.agent.tasks import TaskBook

    journal = Journal(home)
    try:
        tasks = [
            {
                "task": task.task_id,
                "kind": task.kind,
                "state": task.state,
                "code": task.code,
                "progress": f"{task.done}/{task.total}" if task.total else None,
            }
            for task in TaskBook(journal).recent(10)
        ]
        waiting = [
            {"item": item.item_id, "kind": item.kind, "state": item.state, "since": item.changed}
            for item in Outbox(journal).items(*LIVE)
        ]
        return {"tasks": tasks, "outbox": waiting}
    finally:
        journal.close()


def _warning(error: MedSiloError) -> dict[str, str]:
    return {"code": error.code, "text": f"{error.title}{': ' + error.detail if error.detail else ''}. {error.hint}"}
