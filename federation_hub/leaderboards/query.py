"""What a reader asked of a board in the query string.

Anything that makes no sense is read as not asked, and the page says so: ``ignored`` names the parameters, never what
they held.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlencode

from federation_hub.leaderboards.board import Board, Entry
from federation_hub.leaderboards.columns import CHOICES, DEFAULT, SORTS, Order, columns_of, natural_order

Kind = Literal["all", "submitted", "federated", "baseline"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ORDERS: tuple[Order, ...] = get_args(Order)
ROWS_A_PAGE = 25
OTHERS = "other parameters"
"""How parameters no board has are named to a reader: a page repeats nothing it does not know."""

_LONGEST_TEXT = 80
_KEYS = {"text": "q"}


@dataclass(frozen=True, slots=True)
class BoardQuery:
    """How rows and columns are chosen and ordered. ``order`` None stands for the sort's own natural order."""

    sort: str = "rank"
    order: Order | None = None
    kind: Kind = "all"
    text: str = ""
    columns: tuple[str, ...] = DEFAULT
    page: int = 1
    ignored: tuple[str, ...] = ()
    """Names of parameters that were given and not understood."""

    def link(self, path: str, **changes: str | int | None) -> str:
        """Return the address of this query with changes; what is as by default is left out."""
        values = asdict(self) | {"page": 1} | changes
        default = asdict(BoardQuery())
        kept = {
            _KEYS.get(name, name): ",".join(value) if isinstance(value, tuple) else value
            for name, value in values.items()
            if name != "ignored" and value != default[name]
        }
        return f"{path}?{urlencode(kept, safe=',')}" if kept else path


def parse_query(arguments: Mapping[str, str]) -> BoardQuery:
    """Read a query string; raises nothing, whatever it holds."""
    ignored: set[str] = set()

    def one_of(name: str, known: Iterable[Any], otherwise: Any) -> Any:
        asked = arguments.get(name, "")
        if asked and asked not in known:
            ignored.add(name)
        return asked if asked in known else otherwise

    names = {_KEYS.get(name, name) for name in BoardQuery.__dataclass_fields__} - {"ignored"}
    if set(arguments) - names:
        ignored.add(OTHERS)
    page = arguments.get("page", "1")
    sensible = page.isascii() and page.isdigit() and len(page) <= 6
    if not sensible:
        ignored.add("page")
    columns = asked_columns(arguments)
    if columns is not None and set(columns) - set(CHOICES):
        ignored.add("columns")
    query = BoardQuery(
        sort=one_of("sort", SORTS, "rank"),
        order=one_of("order", ORDERS, None),
        kind=one_of("kind", KINDS, "all"),
        text="".join(char for char in arguments.get("q", "") if char.isprintable()).strip()[:_LONGEST_TEXT],
        columns=DEFAULT if columns is None else tuple(choice for choice in CHOICES if choice in columns),
        page=max(1, int(page)) if sensible else 1,
        ignored=tuple(sorted(ignored)),
    )
    return query


def asked_columns(arguments: Mapping[str, str]) -> set[str] | None:
    """Return the columns that were asked for, or None where nothing was said of columns.

    A form sends ``columns`` once a box, and once empty so that no box at all is an answer too; a link has one list.
    """
    if "columns" not in arguments:
        return None
    every = getattr(arguments, "getlist", None)
    given = every("columns") if every is not None else [arguments["columns"]]
    return {part for text in given for part in text.split(",") if part}


def select(board: Board, query: BoardQuery) -> list[Entry]:
    """Return the entries that match, in the order asked for; missing values come last in either order."""
    wanted = query.text.casefold()
    found = [
        entry
        for entry in board.entries
        if query.kind in ("all", entry.kind) and (not wanted or wanted in f"{entry.name} {entry.owner}".casefold())
    ]
    specs = {spec.key: spec for spec in columns_of(board)}
    if query.sort == "rank" or query.sort not in specs:
        return found[::-1] if query.order == "desc" else found
    key = specs[query.sort].sorts_by
    order = query.order or natural_order(query.sort, board)
    present = [entry for entry in found if key(entry) is not None]
    present.sort(key=key, reverse=order == "desc")  # type: ignore[arg-type]
    return present + [entry for entry in found if key(entry) is None]
