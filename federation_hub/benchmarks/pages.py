"""The front page: every benchmark with the models that lead it, and what is new."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flask import Blueprint
from sqlalchemy.orm import Session

from federation_hub.benchmarks.service import newest_versions
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.board import Board, Entry
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.view import Row, board_axis, draw
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.stored import read_stored
from federation_hub.web.lists import asked_page
from federation_hub.web.news import SHOWN, recent
from federation_hub.web.rendering import page
from federation_hub.web.words import plural
from silo_node.wire.benchmarks import BenchmarkDefinition

blueprint = Blueprint("benchmark_pages", __name__)
SHOWN_A_BENCHMARK = 4
CARDS = 30
PROVENANCES = {"synthetic": "synthetic data", "simulated-sites": "simulated hospitals", "clinical": "clinical data"}


@dataclass(frozen=True, slots=True)
class BenchmarkCard:
    """A benchmark on the front page, with the top of its board."""

    name: str
    title: str
    summary: str
    eyebrow: str
    facts: str
    metric: str
    caption: str
    waiting: str
    rows: tuple[Row, ...]


@blueprint.get("/")
def home() -> str:
    """Show the newest version of every benchmark and the latest events."""
    with services().database.reading() as session:
        found = listed(session, newest_versions(retired=False), asked_page(CARDS), Benchmark.name)
        cards = [_card(session, row) for row in found.rows]
        news = recent(session, SHOWN)
    return page("home.html", benchmarks=cards, next=found.next, news=news)


@blueprint.get("/benchmarks")
def benchmarks() -> str:
    """Show the same list under the address that stands above every benchmark's."""
    return home()


def _card(session: Session, benchmark: Benchmark) -> BenchmarkCard:
    definition = read_stored(BenchmarkDefinition, benchmark.definition)
    snapshot = latest(session, benchmark.name, benchmark.version)
    board = board_of(snapshot) if snapshot is not None else None
    ranked = board is not None and board.ranked
    return BenchmarkCard(
        name=definition.name,
        title=definition.title,
        summary=definition.summary,
        eyebrow=f"{definition.task} · {definition.modality} · {PROVENANCES[definition.provenance]}",
        facts=_facts(board, definition),
        metric=definition.primary.name,
        caption=_caption(board) if board is not None and ranked else "",
        waiting=_waiting(board, definition),
        rows=tuple(_rows(board)) if board is not None and ranked else (),
    )


def _facts(board: Board | None, definition: BenchmarkDefinition) -> str:
    if board is None:
        return definition.data_source
    counts = (plural(len(board.entries), "model"), plural(board.site_count, "hospital"), plural(board.cases, "case"))
    return " · ".join((*counts, definition.data_source))


def _caption(board: Board) -> str:
    if len(board.entries) == 1:
        return "The only model so far"
    leaders = sum(entry.group == 1 for entry in board.entries)
    return "One model leads" if leaders == 1 else f"{leaders} models lead together: they cannot be told apart"


def _waiting(board: Board | None, definition: BenchmarkDefinition) -> str:
    reported = board.site_count if board is not None else 0
    needed = definition.disclosure.minimum_sites
    return f"Nothing is ranked yet: {plural(reported, 'hospital')} of at least {needed} reported."


def _rows(board: Board) -> Iterable[Row]:
    axis = board_axis(board)
    top: Sequence[Entry] = board.entries[:SHOWN_A_BENCHMARK]
    return (draw(board, entry, axis, sites=False) for entry in top)
