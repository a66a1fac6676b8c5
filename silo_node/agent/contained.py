"""Models with code (tier 3): run alone in a container of their own image, and scored by the kit's own code.

Three jails, one after the other. The node's own lays out the images, and nothing else of a case; the model's container
sees them and leaves answers; the node's own scores those as it would any model's. So the code of a stranger meets no
label, no patient's number, and no number that is published.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from pipelines.container import ContainerModel
from pipelines.job import ModelFile, StageJob
from silo_node.agent.claims import Claim
from silo_node.agent.holdings import Holding
from silo_node.agent.judging import model_binds, model_files
from silo_node.agent.node import Interrupted, Node
from silo_node.sandbox import Bind
from silo_node.sandbox.work import WorkCancelled, run_job, run_program
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import SandboxUnavailable
from silo_node.wire.models import ModelReference

SHOWN, ANSWERED = "shown", "answered"


def answer_in_container(
    node: Node,
    claim: Claim,
    holding: Holding,
    definition: BenchmarkDefinition,
    model: ModelReference,
    container: ContainerModel,
    folder: Path,
) -> ModelFile:
    """Let a model's container answer every case of the test split; return the model with its answers, for the scoring.

    ``folder`` is this run's own and empty. Raises :class:`SandboxUnavailable` ``container-unavailable`` where the image
    is not loaded here, :class:`WorkFailed`, :class:`Interrupted`.
    """
    if node.containers is None:
        raise SandboxUnavailable("container-unavailable", "sandbox.containers names no engine")
    engine = node.containers.of_model(container.image)
    if not engine.has_image():
        raise SandboxUnavailable("container-unavailable", f"load {container.image}")
    log = node.home.logs / "work" / f"{claim.task.task_id}.log"
    (file,) = model_files([model])
    for name in (SHOWN, ANSWERED):
        (folder / name).mkdir(mode=0o700)
    limits = node.limits(node.config.limits.evaluation_minutes)
    job = StageJob(
        cohort=Path("/cohort"), definition=definition.model_dump(mode="json"), bundle=file.path, out=Path("/out")
    )
    binds = [*model_binds(node, [file]), Bind(holding.folder, "/cohort"), Bind(folder / SHOWN, "/out", writable=True)]
    begun = time.monotonic()
    try:
        run_job(node.sandbox, job, binds, limits, scratch=node.home.scratch, log=log, cancelled=claim.cancelled)
        cases = len(list((folder / SHOWN).glob("*.safetensors")))
        begun = time.monotonic()
        binds = [Bind(folder / SHOWN, "/input"), Bind(folder / ANSWERED, "/output", writable=True)]
        run_program(engine, container.command, binds, limits, log=log, cancelled=claim.cancelled)
    except WorkCancelled:
        raise Interrupted from None
    shutil.rmtree(folder / SHOWN)
    seconds = round((time.monotonic() - begun) / max(cases, 1), 3)
    return file.model_copy(update={"answers": Path(f"/answers/{file.hex}"), "seconds": seconds})


def answer_binds(files: Mapping[Path, ModelFile]) -> list[Bind]:
    """Return the binds that show the scoring jail the answers of models that ran elsewhere, by their folders."""
    return [Bind(folder / ANSWERED, str(file.answers)) for folder, file in files.items()]
