"""What a reader asked of a board in the query string. Anything that makes no sense is read as not asked."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args
from urllib.parse import urlencode

from federation_hub.leaderboards.board import Board, Entry

Sort = Literal["rank", "model", "score", "best", "worst", "cases"]
Order = Literal["asc", "desc"]
Kind = Literal["all", "submitted", "federated", "baseline"]
SORTS: tuple[Sort, ...] = get_args(Sort)
KINDS: tuple[Kind, ...] = get_args(Kind)
ROWS_A_PAGE = 20
_LONGEST_TEXT = 80
_KEYS = {"text": "q"}


@dataclass(frozen=True, slots=True)
class BoardQuery:
    """How the rows are chosen and ordered. ``order`` None stands for the sort's own natural order."""

    sort: Sort = "rank"
    order: Order | None = None
    kind: Kind = "all"
    text: str = ""
    page: int = 1

    def link(self, path: str, **changes: str | int | None) -> str:
        """Return the address of this query with changes; what is as by default is left out."""
        values = asdict(self) | {"page": 1} | changes
        default = asdict(BoardQuery())
        kept = {_KEYS.get(name, name): value for name, value in values.items() if value != default[name]}
        return f"{path}?{urlencode(kept)}" if kept else path


def parse_query(arguments: Mapping[str, str]) -> BoardQuery:
    """Read a query string; raises nothing, whatever it holds."""
    page = arguments.get("page", "1")
    return BoardQuery(
        sort=next((sort for sort in SORTS if sort == arguments.get("sort")), "rank"),
        order=next((order for order in get_args(Order) if order == arguments.get("order")), None),
        kind=next((kind for kind in KINDS if kind == arguments.get("kind")), "all"),
        text="".join(char for char in arguments.get("q", "") if char.isprintable()).strip()[:_LONGEST_TEXT],
        page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) <= 6 else 1,
    )


def natural_order(sort: Sort, board: Board) -> Order:
    """Return the order in which a column is most useful: the best first."""
    if sort in ("score", "worst"):
        return "desc" if board.direction == "higher" else "asc"
    return "desc" if sort in ("best", "cases") else "asc"


def select(board: Board, query: BoardQuery) -> list[Entry]:
    """Return the entries that match, in the order asked for; missing values come last in either order."""
    wanted = query.text.casefold()
    found = [
        entry
        for entry in board.entries
        if query.kind in ("all", entry.kind) and (not wanted or wanted in f"{entry.name} {entry.owner}".casefold())
    ]
    if query.sort == "rank":
        return found[::-1] if query.order == "desc" else found
    order = query.order or natural_order(query.sort, board)
    present = [entry for entry in found if _key(entry, query.sort) is not None]
    present.sort(key=lambda entry: _key(entry, query.sort), reverse=order == "desc")  # type: ignore[arg-type, return-value]
    return present + [entry for entry in found if _key(entry, query.sort) is None]


def _key(entry: Entry, sort: Sort) -> float | str | None:
    match sort:
        case "model":
            return entry.name.casefold()
        case "score":
            return entry.estimate.value
        case "best":
            return entry.first
        case "worst":
            return entry.worst.estimate.value if entry.worst else None
        case _:
            return entry.cases
