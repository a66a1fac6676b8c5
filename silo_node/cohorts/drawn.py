"""Where the patients of a benchmark were drawn before: ``private/splits/<benchmark>.json``, kept beyond any cohort."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from silo_node.cohorts.split import Split
from silo_node.state import Home, write_private
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.errors import IntegrityError

_DRAWN: TypeAdapter[dict[str, Split]] = TypeAdapter(dict[str, Split])


def drawn_before(home: Home, benchmark: str) -> dict[str, Split]:
    """Return the split of each patient that was ever drawn; raises ``cohort-changed`` where the file is damaged."""
    try:
        return _DRAWN.validate_json(_path(home, benchmark).read_bytes())
    except FileNotFoundError:
        return {}
    except ValidationError:
        raise IntegrityError("cohort-changed", f"{_path(home, benchmark)} cannot be read") from None


def keep_drawn(home: Home, benchmark: str, splits: Mapping[str, Split]) -> None:
    """Note where patients are now, those of earlier cohorts among them."""
    path = _path(home, benchmark)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(path, canonical_bytes({**drawn_before(home, benchmark), **splits}))


def _path(home: Home, benchmark: str) -> Path:
    return home.private / "splits" / f"{benchmark}.json"
