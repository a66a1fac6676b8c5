"""Reading messages back from JSON columns, as strictly as they were read from the wire."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)


def read_stored(kind: type[M], value: dict[str, Any]) -> M:
    """Return the message a JSON column holds. JSON has no tuples, so it is read as JSON, not as Python values."""
    return kind.model_validate_json(json.dumps(value))
