"""The node's own preparation: ``pipelines.worker`` in the sandbox, which sees these raw cases and one empty folder."""

from pathlib import Path

from pipelines.job import PrepareJob
from pipelines.question import InputSpec, TransformSpec
from silo_node.cohorts.preparation import Prepare
from silo_node.config import NodeConfig
from silo_node.sandbox import Bind, Sandbox
from silo_node.sandbox.grant import granted
from silo_node.sandbox.work import Progress, run_job
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition


def jailed_preparation(home: Home, config: NodeConfig, sandbox: Sandbox, progress: Progress) -> Prepare:
    """Return a preparation that runs in ``sandbox`` under the limits of the node's configuration."""

    def prepare(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
        run_job(
            sandbox,
            _job(definition, config.threads),
            [Bind(raw, "/raw"), Bind(out, "/out", writable=True)],
            granted(config, config.limits.preparation_minutes),
            scratch=home.scratch,
            log=home.logs / "preparation.log",
            progress=progress,
        )

    return prepare


def _job(definition: BenchmarkDefinition, threads: int) -> PrepareJob:
    return PrepareJob(
        raw=Path("/raw"),
        out=Path("/out"),
        task=definition.task,
        labels=definition.labels,
        input=InputSpec.model_validate(definition.input.model_dump()),
        preparation=tuple(TransformSpec.model_validate(step.model_dump()) for step in definition.preparation),
        threads=threads,
    )
