"""What an evaluation through the node costs over a bare MONAI loop on the same cases.

::

    python -m tests.performance.evaluate [--task classification|segmentation] [--cases N] [--repeat N]

Both sides are fresh processes that import torch and MONAI, load the same weights, read the same prepared cases, predict
one by one on one thread, and score. The node's side is what an evaluation task runs: every file's digest checked before
and after, ``pipelines.worker`` in the sandbox with per-case scores on disk, then the estimates with their covariance.
The bare side is the loop a researcher would write, with MONAI's metrics. Images are made up.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from safetensors.numpy import save_file

from silo_node.wire.benchmarks import BenchmarkDefinition, InputSpec, MetricSpec
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_file, hex_part

SHAPES = {"classification": (128, 128), "segmentation": (48, 48, 48)}
LABELS = {"classification": ("normal", "finding"), "segmentation": ("background", "anterior", "posterior")}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "classification": (
        "DenseNet",
        {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "init_features": 32, "block_config": [4, 8]},
    ),
    "segmentation": (
        "UNet",
        {
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 3,
            "channels": [16, 32, 64],
            "strides": [2, 2],
            "num_res_units": 1,
        },
    ),
}
METRICS = {
    "classification": (MetricSpec(name="auroc", primary=True), MetricSpec(name="brier")),
    "segmentation": (
        MetricSpec(name="dice", primary=True),
        MetricSpec(name="nsd", tolerance_mm=1.0),
        MetricSpec(name="hd95", cap_mm=50.0),
    ),
}


def definition_of(task: str) -> BenchmarkDefinition:
    """Return a benchmark over made-up images."""
    return BenchmarkDefinition.model_validate(
        {
            "name": f"measured_{task}",
            "version": 1,
            "title": "Measured",
            "summary": "Made-up images to measure with.",
            "task": task,
            "modality": "MR",
            "provenance": "synthetic",
            "data_source": "made up",
            "licence": "CC0-1.0",
            "labels": LABELS[task],
            "input": InputSpec(channels=1, shape=SHAPES[task]),
            "preparation": (),
            "metrics": METRICS[task],
        }
    )


def write_cohort(folder: Path, task: str, cases: int) -> None:
    """Write a prepared cohort of made-up test cases with its manifest."""
    rng = np.random.default_rng(7)
    (folder / "cases").mkdir(parents=True)
    entries = [_write_case(folder, task, number, rng) for number in range(cases)]
    (folder / "manifest.json").write_bytes(canonical_bytes({"format": "cohort/1", "cases": entries}))


def _write_case(folder: Path, task: str, number: int, rng: np.random.Generator) -> dict[str, Any]:
    name, label = f"{number:016x}", number % 2
    image = rng.standard_normal((1, *SHAPES[task]), dtype=np.float32)
    map_or_class: np.ndarray[Any, Any] = np.array([label], dtype=np.int64)
    if task == "segmentation":
        map_or_class = np.zeros(SHAPES[task], dtype=np.uint8)
        map_or_class[12:24, 12:36, 12:36], map_or_class[24:36, 12:36, 12:36] = 1, 2
        image[0] += map_or_class
    tensors = {"image": image, "label": map_or_class, "spacing_mm": np.ones(len(SHAPES[task]), np.float32)}
    path = folder / "cases" / f"{name}.safetensors"
    save_file(tensors, path)
    entry = {"case": name, "patient": name, "split": "test", "path": f"cases/{name}.safetensors", "attributes": {}}
    return entry | {"digest": digest_file(path), "label": label if task == "classification" else None}


def write_model(folder: Path, definition: BenchmarkDefinition) -> Path:
    """Write a freshly initialised model, in a process of its own so that this one never loads torch."""
    name, arguments = NETWORKS[definition.task]
    out = folder / "model.zip"
    program = (
        "import json, sys; from pathlib import Path; from pipelines.authoring import *; "
        "from pipelines.question import read_question; given = json.loads(sys.argv[1]); "
        "profile = new_profile(read_question(given['definition']), given['name'], given['args']); "
        "make_bundle(Path(given['out']), profile, initial_weights(profile, 0), "
        "title='Measured', description='Measured', authors='Measured')"
    )
    given = {"definition": definition.model_dump(mode="json"), "name": name, "args": arguments, "out": str(out)}
    subprocess.run([sys.executable, "-c", program, json.dumps(given)], check=True, env=one_thread())
    return out


def through_the_node(folder: Path, cohort: Path, model: Path, definition: BenchmarkDefinition) -> dict[str, float]:
    """Evaluate as a node does and return the seconds of its parts."""
    from pipelines.job import EvaluateJob, ModelFile
    from silo_node.agent.estimation import estimated
    from silo_node.cohorts.manifest import ManifestCase
    from silo_node.sandbox import Bind, Limits, choose
    from silo_node.sandbox.work import run_job

    began = time.perf_counter()
    entries = json.loads((cohort / "manifest.json").read_bytes())["cases"]
    _verify(cohort, entries)
    verified = time.perf_counter()
    out = folder / f"out-{time.monotonic_ns()}"
    (out / "scores").mkdir(parents=True)
    digest = digest_file(model)
    job = EvaluateJob(
        cohort=Path("/cohort"),
        definition=definition.model_dump(mode="json"),
        models=(ModelFile(digest=digest, path=Path("/models/model.zip")),),
        out=Path("/out"),
    )
    binds = [Bind(model, "/models/model.zip"), Bind(cohort, "/cohort"), Bind(out, "/out", writable=True)]
    run_job(choose(), job, binds, Limits(), scratch=folder, log=folder / "worker.log")
    ran = time.perf_counter()
    _verify(cohort, entries)
    cases = [ManifestCase.model_validate_json(json.dumps(entry)) for entry in entries]
    estimated(definition, digest_file(model), cases, [out / "scores" / f"{hex_part(digest)}.jsonl"], 1)
    ended = time.perf_counter()
    return {"jail": ran - verified, "rest": (verified - began) + (ended - ran), "all": ended - began}


def _verify(cohort: Path, entries: list[dict[str, Any]]) -> None:
    if any(digest_file(cohort / entry["path"]) != entry["digest"] for entry in entries):
        raise RuntimeError("a case changed")


def bare(cohort: Path, model: Path, definition: BenchmarkDefinition) -> float:
    """Run the bare loop in a fresh process and return its seconds."""
    given = {"cohort": str(cohort), "model": str(model), "task": definition.task}
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "tests.performance.bare_loop", json.dumps(given)], check=True, env=one_thread()
    )
    return time.perf_counter() - began


def one_thread() -> dict[str, str]:
    """Return an environment in which a process computes with one thread, as a node's does."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {**os.environ, **dict.fromkeys(names, "1")}


def measure(task: str, cases: int, repeat: int) -> list[tuple[str, str]]:
    """Return rows of (what, measured); each time is the median over the repetitions."""
    with tempfile.TemporaryDirectory(prefix="medsilo-evaluate-") as name:
        folder, definition = Path(name), definition_of(task)
        write_cohort(folder / "cohort", task, cases)
        model = write_model(folder, definition)
        loops, nodes = [], []
        for _ in range(repeat):
            loops.append(bare(folder / "cohort", model, definition))
            nodes.append(through_the_node(folder, folder / "cohort", model, definition))
    loop, whole = median(loops), median(run["all"] for run in nodes)
    return [
        ("bare MONAI loop", f"{loop:.2f} s"),
        ("node: worker in the sandbox", f"{median(run['jail'] for run in nodes):.2f} s"),
        ("node: verification and estimates", f"{median(run['rest'] for run in nodes):.2f} s"),
        ("node, all", f"{whole:.2f} s"),
        ("node over bare loop", f"{whole / loop:.3f}  (goal: at most 1.10)"),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", choices=("classification", "segmentation"), default="segmentation")
    parser.add_argument("--cases", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    title = f"{given.cases} cases, {given.task}, {' x '.join(map(str, SHAPES[given.task]))}, median of {given.repeat}"
    table = Table("what", "measured", title=title, title_justify="left")
    for row in measure(given.task, given.cases, given.repeat):
        table.add_row(*row)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
