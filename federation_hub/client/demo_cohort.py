"""A benchmark's public demo cohort on the researcher's machine, and a model's check on it in the same jail.

What a check node does with a submitted model happens here before anything is sent: two runs over the demo cohort, in
two processes without network, judged by the same rule.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import platformdirs

from benchmarks.definition import bundled_names
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import message_digest
from silo_node.wire.digests import digest_file, hex_part
from silo_node.wire.errors import BadInput, WorkFailed

_MINUTES = 10.0
_MEMORY_MB = 8_000
Progress = Callable[[int, int], None]


def demo_cohort(definition: BenchmarkDefinition, data: Path | None = None) -> Path | None:
    """Return the prepared demo cohort of a benchmark, made once and kept; None where there is none without ``data``.

    Raises ``data-missing`` where ``data`` does not hold what the benchmark's README says.
    """
    if definition.name not in bundled_names():
        return None
    kept = platformdirs.user_cache_path("medsilo") / "demo" / hex_part(message_digest(definition))[:32]
    if kept.is_dir():
        return kept
    demo = import_module(f"benchmarks.{definition.name}.demo")
    if data is None and demo.NEEDS_DATA:
        return None
    with tempfile.TemporaryDirectory(prefix="medsilo-demo-") as name:
        made = Path(name) / "cohort"
        try:
            demo.write_cases(Path(name) / "raw", data)
        except (OSError, KeyError, ValueError, StopIteration) as error:
            raise BadInput("data-missing", f"{data}; see benchmarks/{definition.name}/README.md") from error
        _prepare(made, Path(name) / "raw", definition)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, kept.with_suffix(".partial"), dirs_exist_ok=True)
        kept.with_suffix(".partial").rename(kept)
    return kept


def run_on_demo(
    bundle: Path, definition: BenchmarkDefinition, cohort: Path, progress: Progress = lambda done, total: None
) -> dict[str, Any]:
    """Run a model over the demo cohort as a check node would; return cases, failed ones and seconds a case.

    Raises ``SandboxUnavailable`` where this machine has no jail, ``WorkFailed`` with what is wrong with the model.
    """
    from pipelines.verdict import RUNS, fault

    def told(run: int) -> Progress:
        return lambda done, total: progress(run * total + done, RUNS * total)

    runs = [_scores(bundle, definition, cohort, told(run)) for run in range(RUNS)]
    found = fault(runs)
    if found is not None:
        raise WorkFailed(found.code, found.detail)
    return {
        "cases": len(runs[0]),
        "failed": sum(bool(score["failed"]) for score in runs[0]),
        "seconds": sum(score["seconds"] for score in runs[0]) / len(runs[0]),
        "runs": RUNS,
    }


def _prepare(folder: Path, raw: Path, definition: BenchmarkDefinition) -> None:
    from benchmarks.demonstration import prepare_own

    prepare_own(folder, raw, definition.model_dump(mode="json"), split="test")


def _scores(bundle: Path, definition: BenchmarkDefinition, cohort: Path, progress: Progress) -> list[dict[str, Any]]:
    from federation_hub.client.models import last_line
    from pipelines.job import EvaluateJob, ModelFile
    from silo_node.sandbox import Bind, Limits, choose
    from silo_node.sandbox.work import run_job

    digest = digest_file(bundle)
    with tempfile.TemporaryDirectory(prefix="medsilo-check-") as name:
        folder, log = Path(name), Path(name) / "worker.log"
        out = folder / "out"
        (out / "scores").mkdir(parents=True)
        job = EvaluateJob(
            cohort=Path("/cohort"),
            definition=definition.model_dump(mode="json"),
            models=(ModelFile(digest=digest, path=Path("/models/bundle.zip")),),
            out=Path("/out"),
        )
        binds = [Bind(bundle, "/models/bundle.zip"), Bind(cohort, "/cohort"), Bind(out, "/out", writable=True)]
        limits = Limits(wall_seconds=60 * _MINUTES, memory_mb=_MEMORY_MB)
        try:
            run_job(choose(), job, binds, limits, scratch=folder, log=log, progress=progress)
        except WorkFailed as error:
            raise WorkFailed(error.code, last_line(log) or error.detail) from error
        lines = (out / "scores" / f"{hex_part(digest)}.jsonl").read_text(encoding="utf-8").splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda score: str(score["case"]))
