"""Boards that were read lately, kept in memory: reading a large one takes a second, and every page shows some board."""

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from federation_hub.leaderboards.board import Board
from federation_hub.leaderboards.reading import read_board
from federation_hub.leaderboards.tables import Snapshot

_BUDGET = 96 * 1024 * 1024


class Kept:
    """Boards by the digest of their snapshots, those longest not asked for given up first.

    ``budget`` is how many bytes their snapshots may have together; what is read of one takes some eight times as much
    memory. The last board is kept however large it is. Usable from several threads.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._lock = Lock()
        self._boards: OrderedDict[str, tuple[int, Board]] = OrderedDict()

    def board(self, digest: str, body: Callable[[], bytes]) -> Board:
        """Return the board of a snapshot, whose bytes are asked for only where it is not kept."""
        with self._lock:
            if digest in self._boards:
                self._boards.move_to_end(digest)
                return self._boards[digest][1]
        text = body()
        found = read_board(text)
        with self._lock:
            self._boards[digest] = len(text), found
            while len(self._boards) > 1 and sum(size for size, _ in self._boards.values()) > self._budget:
                self._boards.popitem(last=False)
        return found

    def forget(self) -> None:
        """Give up all."""
        with self._lock:
            self._boards.clear()


BOARDS = Kept(_BUDGET)


def board_of(snapshot: Snapshot) -> Board:
    """Return the board of a snapshot, within the session that found it: its body may have to be read from there."""
    return BOARDS.board(snapshot.digest, lambda: snapshot.body)
