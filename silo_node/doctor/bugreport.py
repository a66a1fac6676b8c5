"""A bundle for a support ticket: what helps to find a fault, and nothing of a patient, no secret, no result.

What goes in is an allow-list. Files are not copied: each is read with its own schema and written again from the fields
that are known to be harmless, so that what somebody wrote into a wrong place stays where it is.
"""

import json
import platform
import sys
import zipfile
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from silo_node import __version__
from silo_node.agent.health import read_health
from silo_node.config import load_config
from silo_node.doctor.findings import Finding
from silo_node.identity import load_enrolment
from silo_node.logging import FIELDS
from silo_node.outbox.egress_log import EgressLog
from silo_node.policy import load_policy
from silo_node.state import Home
from silo_node.wire.errors import MedSiloError

LINES = 500
_HIDDEN_SETTINGS = frozenset({"hub_url", "proxy", "ca_bundle", "log_file", "intake", "pacs"})
"""Addresses and paths of the hospital's own network: only whether they are set is told."""

_LOG_FIELDS = ("time", "level", "logger", "event", "fault", "at", *FIELDS)
_README = """\
Made by silo-node bugreport. Read it before you send it.

In it: versions, settings without addresses, the policy's switches, the doctor's findings without addresses, counts by
state, kinds and sizes of the last requests, the last lines of the node's log in their declared fields.
Not in it: keys, tokens, passwords, images, labels, scores, results, names of files, of patients, of people, addresses.
"""


def write_bugreport(home: Home, out: Path, findings: Sequence[Finding], log: Path | None = None) -> list[str]:
    """Write the bundle and return the names of its parts; ``log`` is a file of the node's own log lines."""
    parts: dict[str, Any] = {
        "versions.json": _versions(),
        "settings.json": _told(lambda: _settings(home)),
        "policy.json": _told(lambda: _policy(home)),
        "doctor.json": [{"code": finding.code, "verdict": finding.verdict} for finding in findings],
        "state.json": _told(lambda: _state(home)),
        "departures.json": _told(lambda: _departures(home)),
        "log.jsonl": "\n".join(_log_lines(log)) if log else "",
    }
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.txt", _README)
        for name, value in parts.items():
            archive.writestr(name, value if isinstance(value, str) else json.dumps(value, indent=2, default=str))
    out.chmod(0o600)
    return ["README.txt", *parts]


def _told(read: Any) -> Any:
    """Return a part, or the code of why it cannot be told; the detail of an error may name a file."""
    try:
        return read()
    except MedSiloError as error:
        return {"code": error.code}


def _versions() -> dict[str, Any]:
    return {
        "node": __version__,
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "packages": dict(sorted((found.name, found.version) for found in distributions())),
    }


def _settings(home: Home) -> dict[str, Any]:
    values = load_config(home).model_dump(mode="json")
    return {name: _hidden(value) if name in _HIDDEN_SETTINGS else value for name, value in values.items()}


def _hidden(value: object) -> str:
    return "not set" if value is None else "set"


def _policy(home: Home) -> dict[str, Any]:
    """Return the policy's switches and limits; lists name benchmarks, studies, people: only their lengths are told."""
    return _without_names(load_policy(home).model_dump(mode="json"))


def _without_names(values: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            told[name] = _without_names(value)
        elif isinstance(value, list):
            told[name] = f"{len(value)} entries"
        else:
            told[name] = value if isinstance(value, bool | int | float) or value in _SWITCHES else _hidden(value)
    return told


_SWITCHES = frozenset({"hold", "auto", "refuse", "withheld", "pseudonym", "named"})


def _state(home: Home) -> dict[str, Any]:
    from silo_node.status import contents

    health = read_health(home)
    return {
        "enrolled": home.enrolment_file.exists(),
        "wire_version": load_enrolment(home).wire_version if home.enrolment_file.exists() else None,
        "health": None if health is None else {**asdict(health), "tasks": len(health.tasks)},
        **contents(home),
    }


def _departures(home: Home) -> dict[str, Any]:
    entries = deque(EgressLog(home.egress_log).entries(), maxlen=LINES)
    kinds = Counter(entry.departure.kind for entry in entries)
    return {"lines": len(entries), "kinds": dict(kinds), "bytes": sum(entry.departure.size for entry in entries)}


def _log_lines(log: Path) -> list[str]:
    """Return the last lines of the node's log, each read as JSON and written again from its declared fields."""
    told = []
    with log.open("rb") as file:
        for line in deque(file, maxlen=LINES):
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and str(value.get("logger", "")).startswith("silo_node"):
                told.append(json.dumps({name: value[name] for name in _LOG_FIELDS if name in value}))
    return told
