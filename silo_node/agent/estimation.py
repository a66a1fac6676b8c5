"""The statistics of an evaluation, in a short-lived process of their own.

numpy and scipy would triple the memory of a node that mostly waits; so they are loaded here, and gone afterwards.
Standard input is one JSON object ``{"definition", "digest", "seed", "limits", "cases", "models"}``, standard output the
computed part of an estimate block.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from silo_node.cohorts.manifest import ManifestCase
from silo_node.wire.benchmarks import BenchmarkDefinition, DisclosureLimits
from silo_node.wire.errors import WorkFailed

TIMEOUT_SECONDS = 3600


def estimated(
    definition: BenchmarkDefinition,
    digest: str,
    cases: Sequence[ManifestCase],
    scores: Sequence[Path],
    seed: int,
    limits: DisclosureLimits | None = None,
) -> dict[str, Any]:
    """Return the computed part of an estimate block for the models whose score files these are, in their order.

    ``seed`` must come from a secret of the site; ``limits`` count where they are stricter than the benchmark's.
    Raises :class:`WorkFailed`.
    """
    job = {
        "definition": definition.model_dump(mode="json"),
        "digest": digest,
        "seed": seed,
        "limits": (limits or definition.disclosure).model_dump(
            mode="json", include={"minimum_class", "minimum_cell", "decimals"}
        ),
        "cases": [[case.case, case.patient, case.label, case.attributes] for case in cases],
        "models": [str(path) for path in scores],
    }
    done = subprocess.run(
        [sys.executable, "-m", "silo_node.agent.estimation"],
        input=json.dumps(job).encode(),
        stdout=subprocess.PIPE,
        timeout=TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        raise WorkFailed("work-failed", "the statistics failed")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def estimate(job: dict[str, Any]) -> dict[str, Any]:
    """Compute the estimates of one job; pure but for reading the score files."""
    import numpy as np

    from benchmarks.statistics.cases import (
        Cohort,
        ExpectedCase,
        MeasuredCases,
        ScoredCases,
        measured_cases,
        scored_cases,
    )
    from benchmarks.statistics.estimate import estimate_body
    from benchmarks.statistics.rules import benchmark_rules

    asked = benchmark_rules(job["definition"], digest=job["digest"])
    rules = replace(asked, limits=asked.limits.with_site_policy(**job["limits"]))
    cohort = Cohort(tuple(ExpectedCase(*case) for case in job["cases"]))
    lines = [[json.loads(line) for line in Path(path).read_bytes().splitlines()] for path in job["models"]]
    cases: ScoredCases | MeasuredCases
    if rules.task == "classification":
        cases = scored_cases(cohort, lines, classes=len(rules.labels))
    else:
        metrics = [metric.name for metric in rules.metrics]
        cases = measured_cases(cohort, lines, structures=rules.labels[1:], metrics=metrics)
    body = estimate_body(cases, rules, rng=np.random.default_rng(job["seed"]))
    return {**body, "resources": [_resources(answers) for answers in lines]}


def _resources(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Mean and standard deviation of the cost a case, to two digits: finer times would be a way to tell of a case."""
    import numpy as np

    seconds = np.array([line["seconds"] for line in lines] or [0.0])
    peak = max((line["peak_memory_mb"] for line in lines), default=0.0)
    costs = {"seconds_mean": seconds.mean(), "seconds_sd": seconds.std(), "peak_memory_mb": peak}
    return {name: float(f"{round(float(value), 4):.2g}") for name, value in costs.items()}


def main() -> None:
    """Read a job, write its estimates."""
    json.dump(estimate(json.load(sys.stdin)), sys.stdout, allow_nan=False)


if __name__ == "__main__":
    main()
