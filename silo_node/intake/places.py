"""Where a refused file lies. Its name may be a patient's, so it is kept in the private store, by keyed locator."""

import os
import sqlite3
from collections.abc import Iterable, Mapping

from silo_node.state import Home


class Places:
    """``private/places.sqlite``: locator to path, for the local user's eyes."""

    def __init__(self, home: Home, *, shared: bool = False) -> None:
        """Open the file; ``shared`` is for several threads that take turns on it."""
        path = home.private / "places.sqlite"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._connection = sqlite3.connect(path, timeout=10.0, check_same_thread=not shared)
        with self._connection:
            self._connection.execute("CREATE TABLE IF NOT EXISTS places (locator TEXT PRIMARY KEY, path BLOB NOT NULL)")

    def put(self, places: Mapping[str, str]) -> None:
        """Note paths by locator."""
        rows = [(locator, os.fsencode(path)) for locator, path in places.items()]
        with self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO places VALUES (?,?)", rows)

    def paths(self, locators: Iterable[str]) -> dict[str, str]:
        """Return the paths that are known of these locators."""
        wanted = set(locators)
        rows = self._connection.execute("SELECT locator, path FROM places")
        return {locator: os.fsdecode(path) for locator, path in rows if locator in wanted}

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
