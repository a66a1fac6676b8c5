"""The bundled benchmarks: the same files in each, sound definitions, reference networks that fit."""

import json
from pathlib import Path

import pytest

from benchmarks.definition import FOLDER, bundled, bundled_names, load_definition
from pipelines.bundles import check_transforms
from pipelines.bundles.metadata import read_metadata
from pipelines.bundles.profile import read_profile, refuse_incompatible
from pipelines.question import read_question
from silo_node.wire.errors import BadInput
from silo_node.wire.studies import LocalTraining

NAMES = ("chest_phantom", "hippocampus_dicom", "hippocampus_mr", "pneumonia_xray")
FILES = {"README.md", "__init__.py", "benchmark.toml", "demo.py", "reference/bundle.json", "reference/metadata.json"}


def files_of(name: str) -> set[str]:
    folder = FOLDER / name
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if "__pycache__" not in path.parts}


def test_these_benchmarks_come_with_the_installation() -> None:
    """A folder with a definition is a benchmark."""
    assert bundled_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_the_same_files(name: str) -> None:
    """Whoever knows one knows them all."""
    assert files_of(name) == FILES


@pytest.mark.parametrize("name", NAMES)
def test_a_definition_is_named_as_its_folder_and_says_where_its_data_come_from(name: str) -> None:
    """And its page can say synthetic or simulated."""
    definition = bundled(name)
    assert definition.name == name
    assert definition.provenance in ("synthetic", "simulated-sites")
    assert (FOLDER / name / "README.md").read_text().startswith(f"# {name}: ")
    check_transforms(read_question(definition.model_dump(mode="json")).preparation)


@pytest.mark.parametrize("name", NAMES)
def test_the_reference_network_takes_the_benchmarks_input(name: str) -> None:
    """Its profile passes the checks of a submission, but for the weights it does not have."""
    reference = FOLDER / name / "reference"
    profile = read_profile(json.loads((reference / "bundle.json").read_text()))
    refuse_incompatible(profile, read_question(bundled(name).model_dump(mode="json")))
    read_metadata(json.loads((reference / "metadata.json").read_text()))


@pytest.mark.parametrize("name", NAMES)
def test_every_demo_offers_the_same_and_plans_a_sound_study(name: str) -> None:
    """Sites, models and a study in the words of a plan file."""
    from importlib import import_module

    demo = import_module(f"benchmarks.{name}.demo")
    assert len(demo.SITES) >= 3
    assert callable(demo.write_sites)
    assert callable(demo.write_models)
    LocalTraining.model_validate(demo.STUDY["local"])
    assert {"name", "title", "model", "rounds", "deadline_seconds", "seed", "local"} == set(demo.STUDY)


def test_an_unknown_benchmark_is_told_with_what_there_is() -> None:
    """A wrong name lists the right ones."""
    with pytest.raises(BadInput, match=r"benchmark-unknown.*chest_phantom"):
        bundled("lungs")


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("name = ", "benchmark-invalid", "no TOML"),
        ('name = "x1"\nsurprise = 1\n', "benchmark-invalid", ""),
        ("day = 2026-01-01\n", "benchmark-invalid", ""),
    ],
)
def test_a_bad_definition_is_refused_with_the_field(tmp_path: Path, text: str, code: str, place: str) -> None:
    """And a missing one with its path."""
    path = tmp_path / "benchmark.toml"
    path.write_text(text)
    with pytest.raises(BadInput, match=rf"{code}.*{place}"):
        load_definition(path)
    with pytest.raises(BadInput, match="file-missing"):
        load_definition(tmp_path / "other.toml")
