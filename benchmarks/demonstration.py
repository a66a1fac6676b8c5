"""What every benchmark's ``demo.py`` gives to ``medsilo demo``: sites' folders, a researcher's models, a study.

The researcher's models are trained here on the researcher's own few images, which are in no silo. Training is the
pipelines' own loop; torch is loaded only inside the functions that need it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors.numpy import save_file

DEMO_CASES = 24
"""Cases of a benchmark's public demo cohort, on which a researcher's own machine checks a model."""

SourceKind = Literal["dicom", "nifti", "npz"]
Tensors = dict[str, np.ndarray[Any, np.dtype[np.float32]]]


@dataclass(frozen=True)
class DemoSite:
    """A hospital before it joined: a folder of images and a table of labels beside it."""

    name: str
    kind: SourceKind
    folder: Path
    table: Path


@dataclass(frozen=True)
class DemoModel:
    """A researcher's model: a bundle and what its card says. ``name`` is how the demo's study refers to it."""

    name: str
    bundle: Path
    card: dict[str, Any]


@dataclass(frozen=True)
class Recipe:
    """How a researcher made a model: its network, and how long it was trained on the researcher's own cases.

    ``training`` is a wire ``LocalTraining`` as JSON, or ``None`` for a network with its first random weights.
    """

    name: str
    title: str
    description: str
    profile: dict[str, Any]
    training: dict[str, Any] | None = None
    seed: int = 0
    baseline: bool = False


def reference_profile(folder: Path) -> dict[str, Any]:
    """Return ``reference/bundle.json`` of a benchmark's folder."""
    profile: dict[str, Any] = json.loads((folder / "reference" / "bundle.json").read_text())
    return profile


def make_models(
    out: Path, definition: dict[str, Any], recipes: Sequence[Recipe], own: Path, *, data: str, licence: str
) -> list[DemoModel]:
    """Make each recipe's bundle under ``out``; ``own`` is the researcher's cohort, ``data`` says what it is."""
    from pipelines.authoring import initial_weights, make_bundle
    from pipelines.question import read_question

    question = read_question(definition)
    models = []
    for recipe in recipes:
        weights = initial_weights(recipe.profile, recipe.seed)
        if recipe.training is not None:
            weights = _trained(recipe, question, weights, own)
        bundle = out / f"{recipe.name}.zip"
        make_bundle(
            bundle,
            recipe.profile,
            weights,
            title=recipe.title,
            description=recipe.description,
            authors="MedSilo demonstration",
        )
        card = {
            "name": recipe.title,
            "description": recipe.description,
            "intended_use": "Demonstration only.",
            "training_data": data if recipe.training is not None else "none: random first weights",
            "licence": licence,
            "baseline": recipe.baseline,
        }
        models.append(DemoModel(recipe.name, bundle, card))
    return models


def prepare_own(folder: Path, raw: Path, definition: dict[str, Any], *, split: str = "train") -> None:
    """Prepare raw cases as a silo would and lay them out as a cohort; ``raw`` has one folder a case."""
    from pipelines.job import PrepareJob
    from pipelines.preparation.prepare import prepare_cases

    job = PrepareJob.model_validate(
        {name: definition[name] for name in ("task", "labels", "input", "preparation")} | {"raw": raw, "out": folder}
    )
    prepare_cases(job, lambda done, total: None)
    prepared = json.loads((folder / "prepared.json").read_text())["cases"]
    entries = [
        {
            "case": entry["case"],
            "patient": entry["case"],
            "split": split,
            "path": f"cases/{entry['case']}.safetensors",
            "label": entry["label"],
            "attributes": {},
        }
        for entry in prepared
    ]
    (folder / "manifest.json").write_text(json.dumps({"format": "cohort/1", "cases": entries}))


def write_raw(folder: Path, number: int, image: np.ndarray[Any, Any], label: Any) -> None:
    """Write one raw case: a class index, or a label map, beside the image."""
    case = folder / f"{number:016x}"
    case.mkdir(parents=True, exist_ok=True)
    save_file({"image": np.ascontiguousarray(image)}, case / "image.safetensors")
    scalar = isinstance(label, int)
    if not scalar:
        save_file({"label": np.ascontiguousarray(label, dtype=np.uint8)}, case / "label.safetensors")
    record = {"case": case.name, "label": label if scalar else None, "spacing_mm": [1.0] * image.ndim}
    (case / "case.json").write_text(json.dumps(record))


def _trained(recipe: Recipe, question: Any, weights: Tensors, own: Path) -> Tensors:
    import torch

    from pipelines.bundles.profile import read_profile
    from pipelines.cohort import CaseSource, cases_of, read_manifest
    from pipelines.job import LocalTraining
    from pipelines.networks import build_network
    from pipelines.preparation.transforms import build_preprocessing
    from pipelines.training import LocalTrainer, run_round

    torch.set_num_threads(1)
    profile = read_profile(recipe.profile)
    entries = cases_of(read_manifest(own), "train")
    source = CaseSource(own, entries, question, build_preprocessing(profile.preprocessing))
    nothing = CaseSource(own, [], question, build_preprocessing(()))
    trainer = LocalTrainer(
        build_network(profile.network_arguments()),
        question,
        LocalTraining.model_validate(recipe.training),
        source,
        nothing,
        seed=recipe.seed,
    )
    trainer.initialize()
    _, update, _ = run_round(trainer, weights, 1, validate_only=False)
    assert update is not None
    return {name: weights[name] + update[name] for name in weights}
