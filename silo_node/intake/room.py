"""A full disk, told in our own words."""

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from silo_node.state import Home
from silo_node.wire.errors import MedSiloError


@contextmanager
def full_disk_is_told(home: Home) -> Iterator[None]:
    """Turn the system's word for a full disk into ``disk-full``."""
    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if _disk_is_full(error):
            raise MedSiloError("disk-full", str(home.path)) from None
        raise


def _disk_is_full(error: OSError | sqlite3.OperationalError) -> bool:
    """Tell whether an error means that there is no room left."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return error.sqlite_errorcode == sqlite3.SQLITE_FULL
