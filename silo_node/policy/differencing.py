"""Differencing refused: two cohorts that differ by few patients must not both be told about.

Each report may respect every limit, and still the difference of two of them tells of just the patients in one and not
in the other. So a cohort is evaluated only if it differs from each one told about before, for the same benchmark, by
nobody or by at least as many patients as a cell must have; in both directions.
"""

from collections.abc import Mapping, Set

from silo_node.journal import Journal
from silo_node.policy.decisions import Decision

RULE = "disclosure.minimum_cell"


def decide_difference(minimum: int, patients: Set[str], told: Mapping[str, Set[str]]) -> Decision:
    """Decide whether a cohort may be told about beside those ``told`` of before, by fingerprint."""
    for earlier in told.values():
        for few in (len(patients - earlier), len(earlier - patients)):
            if 0 < few < minimum:
                words = f"the cohort differs from an earlier one by {few} patients, and {minimum} are the fewest"
                return Decision("refuse", "policy-differencing", RULE, words)
    return Decision("allow", None, RULE, "no earlier cohort differs from it by few patients")


class Told:
    """The cohorts a node has told about, with their patients' pseudonyms; kept at the site, like everything here."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def remember(self, benchmark: str, cohort: str, patients: Set[str]) -> None:
        """Remember that a cohort was told about."""
        with self._journal.writing() as connection:
            values = (benchmark, cohort, " ".join(sorted(patients)), self._journal.now())
            connection.execute("INSERT OR IGNORE INTO told VALUES (?,?,?,?)", values)

    def others(self, benchmark: str, cohort: str) -> dict[str, frozenset[str]]:
        """Return the other cohorts told about for a benchmark, whatever its version, with their patients."""
        rows = self._journal.rows(
            "SELECT cohort, patients FROM told WHERE benchmark = ? AND cohort != ?", (benchmark, cohort)
        )
        return {row["cohort"]: frozenset(row["patients"].split()) for row in rows}
