"""Reading a bundle's JSON so that it can only be data.

MONAI's ``ConfigParser`` is an interpreter: a string that starts with ``$`` is evaluated as Python, ``%`` reads another
file, ``@`` refers elsewhere, and ``_target_`` calls whatever it names. None of these may occur anywhere, not even
where nobody would evaluate it here: the same file may be opened by somebody else's MONAI.
"""

import json
from typing import Any

from pipelines.errors import PipelineError

MAX_CONFIG_BYTES = 256 * 1024
MAX_DEPTH = 12
MAX_STRING = 4096
_MARKS = ("$", "%", "@")
_KEYS = frozenset({"imports", "import"})


def parse_literal_object(data: bytes, name: str) -> dict[str, Any]:
    """Parse one configuration file to an object that holds literals only.

    Raises ``bundle-invalid`` for what is not one JSON object (duplicate keys, NaN, over the limits of size or depth)
    and ``bundle-has-code`` for anything MONAI would evaluate, resolve or call.
    """
    if len(data) > MAX_CONFIG_BYTES:
        raise PipelineError("bundle-invalid", f"{name} is larger than {MAX_CONFIG_BYTES} bytes")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise PipelineError("bundle-invalid", f"{name} is not sound JSON") from None
    if not isinstance(value, dict):
        raise PipelineError("bundle-invalid", f"{name} is not a JSON object")
    refuse_code(value, name)
    return value


def refuse_code(value: Any, where: str, depth: int = 0) -> None:
    """Raise ``bundle-has-code`` where a JSON value holds an expression, a reference or a call."""
    if depth > MAX_DEPTH:
        raise PipelineError("bundle-invalid", f"{where} is nested too deeply")
    if isinstance(value, str):
        _refuse_string(value, where)
    elif isinstance(value, dict):
        for key, entry in value.items():
            _refuse_key(key, where)
            refuse_code(entry, f"{where}:{key[:40]}", depth + 1)
    elif isinstance(value, list):
        for entry in value:
            refuse_code(entry, where, depth + 1)


def _refuse_string(value: str, where: str) -> None:
    if value.lstrip().startswith(_MARKS):
        raise PipelineError("bundle-has-code", f"{where} starts with {value.lstrip()[0]}")
    if len(value) > MAX_STRING:
        raise PipelineError("bundle-invalid", f"{where} is longer than {MAX_STRING} characters")


def _refuse_key(key: str, where: str) -> None:
    if key in _KEYS or key.startswith(("_", "+", *_MARKS)):
        raise PipelineError("bundle-has-code", f"{where} has the key {key[:40]}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("duplicate key")
    return dict(pairs)


def _no_constant(_: str) -> Any:
    raise ValueError("not JSON")
