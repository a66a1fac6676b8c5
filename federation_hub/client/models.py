"""A model on the researcher's machine: checked as the hub and the silos will check it, packed, described."""

import json
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import BadInput, MedSiloError
from silo_node.wire.models import ModelCard

_CHECK_SECONDS = 600.0
_CHECK_MEMORY_MB = 8_000


@contextmanager
def packed(path: Path) -> Iterator[Path]:
    """Yield a bundle's archive: the file itself, or a temporary one packed from a bundle folder."""
    if not path.is_dir():
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="medsilo-") as folder:
        archive = Path(folder) / "bundle.zip"
        pack(path, archive)
        yield archive


def pack(folder: Path, out: Path) -> dict[str, Any]:
    """Pack a bundle folder into an archive and return what its inspection found; the same folder gives the same bytes.

    Raises ``BadInput`` with the code of what is wrong.
    """
    from pipelines.bundles import pack_bundle

    with _coded(folder):
        return _found(pack_bundle(folder, out))


def inspect(bundle: Path, definition: BenchmarkDefinition | None) -> dict[str, Any]:
    """Judge a bundle statically, as the hub does at submission. Loads no torch.

    Raises ``BadInput`` with the code of what is wrong.
    """
    from pipelines.bundles import inspect_bundle

    with _coded(bundle):
        return _found(inspect_bundle(bundle, definition.model_dump(mode="json") if definition else None))


def run_once(bundle: Path, definition: BenchmarkDefinition | None) -> dict[str, Any]:
    """Build the network in the sandbox, load the weights and predict one made-up image, as a silo would.

    Returns ``{"network", "parameters", "weights_bytes", "seconds"}``. Raises ``SandboxUnavailable`` where this machine
    has none, ``WorkFailed`` with the worker's own code.
    """
    from pipelines.job import CheckJob
    from silo_node.sandbox import Bind, Limits, choose
    from silo_node.sandbox.work import run_job

    with tempfile.TemporaryDirectory(prefix="medsilo-check-") as name:
        folder = Path(name)
        out, log = folder / "out", folder / "worker.log"
        out.mkdir()
        job = CheckJob(
            bundle=Path("/models/bundle.zip"),
            definition=definition.model_dump(mode="json") if definition else None,
            out=Path("/out"),
        )
        binds = [Bind(bundle, "/models/bundle.zip"), Bind(out, "/out", writable=True)]
        limits = Limits(wall_seconds=_CHECK_SECONDS, memory_mb=_CHECK_MEMORY_MB)
        try:
            run_job(choose(), job, binds, limits, scratch=folder, log=log)
        except MedSiloError as error:
            raise type(error)(error.code, last_line(log) or error.detail) from error
        found: dict[str, Any] = json.loads((out / "check.json").read_bytes())
        return found


def card_path(path: Path) -> Path:
    """Return where the card of a bundle lies: ``NAME.card.toml`` beside ``NAME`` or ``NAME.zip``."""
    return path.with_name(path.name.removesuffix(".zip") + ".card.toml")


def read_card(path: Path) -> ModelCard:
    """Read a model card from TOML. Raises ``BadInput`` where there is none, or the key that is wrong."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return ModelCard.model_validate(table)
    except OSError as error:
        raise BadInput("file-missing", f"{path}; give --name for a card with a name only") from error
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise BadInput("config-invalid", f"{'.'.join(map(str, first['loc']))} in {path}: {first['msg']}") from error
    except ValueError as error:
        raise BadInput("config-invalid", f"{path} is not readable TOML") from error


@contextmanager
def _coded(path: Path) -> Iterator[None]:
    from pipelines.errors import PipelineError

    try:
        yield
    except PipelineError as error:
        raise BadInput(error.code, f"{path.name}: {error.detail}" if error.detail else path.name) from error


def _found(inspection: Any) -> dict[str, Any]:
    return {
        "network": inspection.profile.network_name,
        "task": inspection.profile.task,
        "labels": list(inspection.profile.labels),
        "parameters": inspection.parameters,
        "tensors": inspection.tensors,
        "weights_bytes": inspection.weights_bytes,
    }


def last_line(log: Path) -> str:
    """Return the last line a jailed worker wrote for people, or nothing."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    return lines[-1] if lines else ""
