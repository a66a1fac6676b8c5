"""What a site made of each global model stays known after a kill, and a model that comes again undoes what followed."""

from pathlib import Path

from silo_node.agent.scorebook import ScoreBook
from silo_node.journal import Journal
from silo_node.state import Home


def test_verdicts_are_kept_over_a_restart_and_rolled_back_with_the_model(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    journal = Journal(home)
    book = ScoreBook(journal)
    book.note("study-1", "a", 0.7, "accepted")
    book.note("study-2", "a", 0.1, "accepted")
    book.note("study-1", "b", 0.9, "accepted")
    journal.close()

    again = ScoreBook(Journal(home))
    again.note("study-1", "c", 0.4, "vetoed")
    assert again.reference("study-1", "d", higher=True) == 0.9
    assert again.reference("study-1", "d", higher=False) == 0.7
    assert again.reference("study-2", "d", higher=True) == 0.1
    assert again.reference("study-1", "b", higher=True) == 0.7
    again.note("study-1", "b", 0.8, "accepted")
    assert again.reference("study-1", "d", higher=True) == 0.8
    assert again.reference("study-3", "a", higher=True) is None
