"""The doctor's last report, kept so that ``status`` and the console can warn without examining anew."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from silo_node.doctor.findings import Finding
from silo_node.state import Home, write_private

_ORDER = {"failed": 0, "warning": 1, "well": 2, "skipped": 3}


@dataclass(frozen=True)
class Report:
    """What one examination found, and when."""

    at: datetime
    findings: tuple[Finding, ...]

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict == "failed"]

    @property
    def warnings(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.verdict == "warning"]

    @property
    def sorted(self) -> list[Finding]:
        """The findings, what must be repaired first."""
        return sorted(self.findings, key=lambda finding: _ORDER[finding.verdict])


def keep_report(home: Home, findings: Sequence[Finding]) -> Report:
    """Keep a report where there is a state folder to keep it in, and return it."""
    report = Report(datetime.now(UTC), tuple(findings))
    if home.path.is_dir():
        values = {"at": report.at.isoformat(), "findings": [asdict(finding) for finding in findings]}
        write_private(home.doctor_report, json.dumps(values, indent=2).encode())
    return report


def last_report(home: Home) -> Report | None:
    """Return the last report, or None where there is none that can be read."""
    try:
        values = json.loads(home.doctor_report.read_bytes())
        findings = tuple(Finding(**value) for value in values["findings"])
        return Report(datetime.fromisoformat(values["at"]), findings)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
