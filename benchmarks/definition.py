"""Reading ``benchmark.toml``: the published question, written for people and checked against the wire.

Every benchmark has a folder here with the same files: ``benchmark.toml``, ``README.md``, ``reference/`` (a network's
profile and metadata, without weights) and ``demo.py``.
"""

import json
from pathlib import Path

from benchmarks.validation import Finding, dotted, judge_reference, judge_table, judge_text
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import BadInput

FOLDER = Path(__file__).parent
FILE = "benchmark.toml"


def load_definition(path: Path) -> BenchmarkDefinition:
    """Read and validate a ``benchmark.toml``, the folder it lies in, or a definition in JSON as the hub gives it.

    Raises ``BadInput``: ``file-missing``; the code of the first fault, with all of them in its detail.
    """
    definition, findings = check_definition(path)
    if definition is None:
        detail = f"{path}: " + "; ".join(str(finding) for finding in findings)
        raise BadInput(findings[0].code, detail)
    return definition


def check_definition(path: Path) -> tuple[BenchmarkDefinition | None, list[Finding]]:
    """Return a file's definition, or None, and everything that is wrong with it; raises ``file-missing``."""
    file = path / FILE if path.is_dir() else path
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput("file-missing", str(file)) from error
    except UnicodeDecodeError:
        return None, [Finding(None, "the file", "benchmark-invalid", "it is not readable as UTF-8")]
    if file.suffix == ".json":
        return _judge_json(text)
    definition, findings = judge_text(text)
    if definition is not None:
        findings = judge_reference(file.parent, definition)
    return (None if findings else definition), findings


def _judge_json(text: str) -> tuple[BenchmarkDefinition | None, list[Finding]]:
    try:
        definition, faults = judge_table(json.loads(text))
    except (ValueError, AttributeError):
        return None, [Finding(None, "the file", "benchmark-invalid", "it is not readable as a JSON object")]
    return definition, [Finding(None, dotted(fault.path), fault.code, fault.words) for fault in faults]


def bundled_names() -> tuple[str, ...]:
    """Return the names of the benchmarks that come with the installation."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{FILE}")))


def bundled(name: str) -> BenchmarkDefinition:
    """Return a definition that comes with the installation; raises ``benchmark-unknown``."""
    if name not in bundled_names():
        raise BadInput("benchmark-unknown", f"choose from {', '.join(bundled_names())}")
    return load_definition(FOLDER / name / FILE)
