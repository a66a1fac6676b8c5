"""How good a federated model gets, and what it costs: one process, no hub, the demonstration's own sites and study.

::

    python -m tests.performance.federated_quality pneumonia_xray --data DIR [--seeds 3] [--rounds N]

Takes the sites' folders in by the node's own readers, prepares them with the benchmark's transforms, trains with the
pipelines' loop, averages weighted by training cases, and scores the test split as an evaluation would. Prints lines for
each round: the mean over sites and each site's value, and CPU seconds of training a site so far.
"""

import argparse
import json
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from benchmarks.definition import bundled
from benchmarks.demonstration import DemoSite
from pipelines.bundles import read_bundle
from pipelines.bundles.weights import read_tensors
from pipelines.cohort import cases_of, read_case, read_manifest
from pipelines.inference import Predictor
from pipelines.job import LocalTraining, PrepareJob
from pipelines.networks import Arrays, load_arrays, load_network
from pipelines.preparation.prepare import prepare_cases
from pipelines.preparation.transforms import build_preprocessing
from pipelines.question import Question, read_question
from pipelines.tasks import task_for
from pipelines.tasks.classification import auroc
from pipelines.training import open_trainer, run_round
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.objects.stored import StoredObjects
from silo_node.intake.run import IntakeRules, deliver
from silo_node.intake.source import Source
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition


def build_cohort(site: DemoSite, definition: BenchmarkDefinition, out: Path) -> Path:
    """Read a site's folder as its node would, prepare it, and write the manifest the sandbox reads."""
    if site.kind == "dicom":
        home = Home(out / "home")
        deliver(home, DicomFolder(site.folder, site.table), IntakeRules("site"))
        source: Source = StoredObjects(home, "site")
    else:
        source = TableSource(site.table, site.folder, collection="site", modality=definition.modality)
    raw, entries = out / "raw", []
    for number, item in enumerate(source.items()):
        case = source.read(item)
        folder = raw / f"{number:016x}"
        folder.mkdir(parents=True)
        save_file({"image": np.ascontiguousarray(case.image)}, folder / "image.safetensors")
        if case.label_map is not None:
            save_file({"label": np.ascontiguousarray(case.label_map)}, folder / "label.safetensors")
        label = None if case.label is None else definition.labels.index(case.label)
        record = {"case": folder.name, "label": label, "affine": case.affine, "spacing_mm": case.spacing_mm or ()}
        (folder / "case.json").write_text(json.dumps(record))
        entries.append({"case": folder.name, "patient": case.patient, "split": case.split, "label": label})
    words = definition.model_dump(mode="json")
    job = {name: words[name] for name in ("task", "labels", "input", "preparation")} | {"raw": raw, "out": out}
    prepare_cases(PrepareJob.model_validate(job), lambda done, total: None)
    prepared = json.loads((out / "prepared.json").read_text())
    print(f"{site.name}: {len(prepared['cases'])} prepared, refused {prepared['refused'][:3]}")
    kept = {case["case"] for case in prepared["cases"]}
    cases = [{**entry, "path": f"cases/{entry['case']}.safetensors"} for entry in entries if entry["case"] in kept]
    (out / "manifest.json").write_text(json.dumps({"format": "cohort/1", "cases": cases}))
    return out


def test_scores(network: torch.nn.Module, cohort: Path, question: Question) -> list[dict[str, Any]]:
    """Score the test split; one record a case with its label."""
    predictor = Predictor(network, build_preprocessing(()), task_for(question))
    entries = cases_of(read_manifest(cohort), "test")
    return [{"label": entry.label, **predictor.record(read_case(cohort, entry, question))} for entry in entries]


def summary(records: list[dict[str, Any]], question: Question) -> dict[str, float]:
    """AUROC, or each structure's mean Dice, NSD and HD95."""
    if question.task == "classification":
        scores = np.array([record["scores"][1] for record in records])
        return {"auroc": auroc(scores, np.array([record["label"] == 1 for record in records]))}
    return {
        f"{name} {metric}": float(np.mean([record["structures"][name][metric] for record in records]))
        for metric in ("dice", "nsd", "hd95")
        for name in question.structures
    }


def federate(cohorts: list[Path], bundle: Path, question: Question, study: dict[str, Any], seed: int) -> Arrays:
    """Run a study in this process and print each round; returns the last global weights."""
    read = read_bundle(bundle)
    local = LocalTraining.model_validate(study["local"])
    trainers = [open_trainer(read, question, local, cohort, seed=seed)[0] for cohort in cohorts]
    sizes = [len(cases_of(read_manifest(cohort), "train")) for cohort in cohorts]
    weights, spent = read_tensors(read.path, read.index), [0.0] * len(cohorts)
    network = load_network(read)
    print(f"training cases {sizes}")
    for number in range(1, study["rounds"] + 1):
        total = {name: np.zeros_like(array, dtype=np.float64) for name, array in weights.items()}
        values = []
        for index, trainer in enumerate(trainers):
            start = time.process_time()
            score, update, _ = run_round(trainer, weights, number, validate_only=False)
            spent[index] += time.process_time() - start
            values.append(score.value)
            assert update is not None
            for name, array in update.items():
                total[name] += array.astype(np.float64) * sizes[index] / sum(sizes)
        weights = {name: (array + total[name]).astype(np.float32) for name, array in weights.items()}
        load_arrays(network, weights)
        _tell(number, network, cohorts, question, values, spent)
    return weights


def _tell(
    number: int,
    network: torch.nn.Module,
    cohorts: list[Path],
    question: Question,
    values: list[Any],
    spent: list[float],
) -> None:
    records = [test_scores(network.eval(), cohort, question) for cohort in cohorts]
    sites = [summary(part, question) for part in records]
    pooled = summary([record for part in records for record in part], question)
    for name in pooled:
        each = " ".join(f"{site[name]:.3f}" for site in sites)
        mean = float(np.mean([site[name] for site in sites]))
        print(f"round {number:2d} {name:18s} sites {each}  mean {mean:.4f}  pooled {pooled[name]:.4f}")
    print(
        f"round {number:2d} incoming validation {values}  CPU s a site {[round(each, 1) for each in spent]}", flush=True
    )


def main() -> None:
    """Run the demonstration's study in one process, for some seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--rounds", type=int)
    given = parser.parse_args()
    torch.set_num_threads(1)
    demo = import_module(f"benchmarks.{given.benchmark}.demo")
    definition = bundled(given.benchmark)
    question = read_question(definition.model_dump(mode="json"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sites = demo.write_sites(folder / "sites", given.data)
        cohorts = [build_cohort(site, definition, folder / "cohorts" / str(i)) for i, site in enumerate(sites)]
        start = time.process_time()
        models = {model.name: model for model in demo.write_models(folder / "models", given.data)}
        print(f"the researcher's models took {time.process_time() - start:.1f} CPU s")
        for model in models.values():
            found = [
                summary(test_scores(load_network(read_bundle(model.bundle)), c, question), question) for c in cohorts
            ]
            print(f"{model.name:15s}", [{key: round(value, 3) for key, value in each.items()} for each in found])
        study = {**demo.STUDY, **({"rounds": given.rounds} if given.rounds else {})}
        for seed in range(given.seeds):
            federate(cohorts, models[study["model"]].bundle, question, study, study["seed"] + seed)


if __name__ == "__main__":
    main()
