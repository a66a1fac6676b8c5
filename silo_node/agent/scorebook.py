"""What this site made of each global model of a study, in the journal, so that a kill forgets no verdict."""

from silo_node.journal import Journal
from silo_node.wire.course import Verdict, reference_of, standing_scores


class ScoreBook:
    """The scores of the global models this site was asked about, in the order they came."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def reference(self, study_id: str, base: str, *, higher: bool) -> float | None:
        """Return the best score of the models accepted here before this one; None before the first."""
        rows = self._journal.rows(
            "SELECT base, value, verdict FROM judged WHERE study_id = ? ORDER BY place", (study_id,)
        )
        entries = [(str(row["base"]), row["value"], row["verdict"]) for row in rows]
        return reference_of(standing_scores(entries, base), higher=higher)

    def note(self, study_id: str, base: str, value: float | None, verdict: Verdict) -> None:
        """Note a verdict; where the model came before, it and what followed are forgotten first."""
        with self._journal.writing() as connection:
            connection.execute(
                "DELETE FROM judged WHERE study_id = ? AND place >="
                " (SELECT MIN(place) FROM judged WHERE study_id = ? AND base = ?)",
                (study_id, study_id, base),
            )
            connection.execute(
                "INSERT INTO judged (study_id, base, value, verdict) VALUES (?,?,?,?)", (study_id, base, value, verdict)
            )
