"""A model is judged here, statically and in a jail of its own, before anything of it is built.

The hub has judged it too. Its word is not enough: the machine that would run a hostile file is this one.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from pipelines.job import Inspected, InspectJob, ModelFile, Verdict
from silo_node.agent.node import Node
from silo_node.sandbox import Bind
from silo_node.sandbox.grant import INSPECTION
from silo_node.sandbox.work import known_code, run_job
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.digests import hex_part
from silo_node.wire.errors import BadInput, WorkFailed
from silo_node.wire.models import ModelReference

LARGEST_ANSWER = 65_536


def judge_models(node: Node, models: Sequence[ModelReference], definition: BenchmarkDefinition) -> tuple[Verdict, ...]:
    """Return the verdict on each model: its tier, or the registered code it is refused with."""
    files = model_files(models)
    with tempfile.TemporaryDirectory(prefix="job-inspect-", dir=node.home.scratch) as name:
        out = Path(name)
        job = InspectJob(definition=definition.model_dump(mode="json"), models=files, out=Path("/out"))
        binds = [*model_binds(node, files), Bind(out, "/out", writable=True)]
        log = node.home.logs / "work" / "inspection.log"
        run_job(node.sandbox, job, binds, INSPECTION, scratch=node.home.scratch, log=log)
        verdicts = _read(out / "inspected.json")
    if [verdict.digest for verdict in verdicts.models] != [file.digest for file in files]:
        raise WorkFailed("output-invalid", "the inspection judged other models")
    return tuple(
        verdict
        if verdict.code is None and verdict.tier is not None
        else Verdict(digest=verdict.digest, code=known_code(verdict.code), tier=None)
        for verdict in verdicts.models
    )


def judged_sound(node: Node, model: ModelReference, definition: BenchmarkDefinition) -> Verdict:
    """Return the verdict on one model that is sound; raises :class:`BadInput` with its code where it is refused."""
    (verdict,) = judge_models(node, [model], definition)
    if verdict.tier is None:
        raise BadInput(verdict.code or "bundle-invalid", f"model {verdict.digest}")
    return verdict


def model_files(models: Sequence[ModelReference]) -> tuple[ModelFile, ...]:
    """Return the models as a job names them, by their places in the jail."""
    return tuple(ModelFile(digest=model.digest, path=Path(f"/models/{hex_part(model.digest)}.zip")) for model in models)


def model_binds(node: Node, files: Sequence[ModelFile]) -> list[Bind]:
    """Return the binds that show just these models."""
    return [Bind(node.home.bundles / file.path.name, str(file.path)) for file in files]


def _read(path: Path) -> Inspected:
    if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_ANSWER:
        raise WorkFailed("output-invalid", "the inspection left no answer")
    try:
        return Inspected.model_validate_json(path.read_bytes())
    except ValidationError:
        raise WorkFailed("output-invalid", "the inspection's answer is not as declared") from None
