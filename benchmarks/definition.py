"""Reading ``benchmark.toml``: the published question, written for people and checked against the wire.

Every benchmark has a folder here with the same files: ``benchmark.toml``, ``README.md``, ``reference/`` (a network's
profile and metadata, without weights) and ``demo.py``.
"""

import json
import tomllib
from pathlib import Path

from pydantic import ValidationError

from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import BadInput

FOLDER = Path(__file__).parent
FILE = "benchmark.toml"


def load_definition(path: Path) -> BenchmarkDefinition:
    """Read and validate a ``benchmark.toml``, or a definition in JSON as the hub gives it.

    Raises ``BadInput``: ``file-missing``, ``benchmark-invalid``.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return BenchmarkDefinition.model_validate_json(
            text if path.suffix == ".json" else json.dumps(tomllib.loads(text))
        )
    except OSError as error:
        raise BadInput("file-missing", str(path)) from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise BadInput("benchmark-invalid", f"{field} in {path}: {first['msg']}") from error
    except (ValueError, TypeError) as error:
        raise BadInput("benchmark-invalid", f"{path} is not readable") from error


def bundled_names() -> tuple[str, ...]:
    """Return the names of the benchmarks that come with the installation."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}")))


def bundled(name: str) -> BenchmarkDefinition:
    """Return a definition that comes with the installation; raises ``benchmark-unknown``."""
    if name not in bundled_names():
        raise BadInput("benchmark-unknown", f"choose from {', '.join(bundled_names())}")
    return load_definition(FOLDER / name / FILE)
