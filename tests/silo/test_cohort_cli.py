"""The commands ``silo-node intake`` and ``silo-node cohort``, as a hospital's IT types them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from silo_node.cli import app
from silo_node.wire.errors import MedSiloError
from tests.silo.preparations import classification
from tests.silo.sources import npz_site, save, write_table, xray


class SiloNode:
    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, ["--home", str(self.home), *arguments])

    def json(self, *arguments: str) -> Any:
        result = self(*arguments, "--json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def code(self, *arguments: str) -> str:
        error = self(*arguments).exception
        assert isinstance(error, MedSiloError)
        return error.code


@pytest.fixture
def silo_node(tmp_path: Path) -> SiloNode:
    return SiloNode(tmp_path / "silo")


@pytest.fixture
def pacs(tmp_path: Path) -> Path:
    folder = tmp_path / "pacs"
    for number in range(4):
        save(xray(patient=f"MRN-{number:04d}", seed=number), folder / f"study{number}/1.dcm")
    save(xray(patient="MRN-9999", seed=9, BurnedInAnnotation="YES"), folder / "burned/1.dcm")
    (folder / "broken.dcm").write_bytes(b"")
    write_table(folder / "labels.csv", [{"path": f"study{number}", "label": number % 2} for number in range(4)])
    return folder


def test_a_folder_is_taken_in_and_what_was_refused_is_listed(silo_node: SiloNode, pacs: Path) -> None:
    taken = silo_node.json("intake", "folder", str(pacs), "--table", str(pacs / "labels.csv"))
    assert taken["objects"] == {"new": 5, "known": 0}
    assert (taken["added"], taken["updated"], taken["unchanged"]) == (4, 0, 0)
    assert taken["quarantined"] == {"not-dicom": 1, "pixel-risk": 1}
    refused = {Path(row["path"]).relative_to(pacs).as_posix(): row for row in silo_node.json("intake", "quarantine")}
    assert refused["broken.dcm"]["code"] == "not-dicom"
    assert refused["burned/1.dcm"]["reasons"] == ["burned-in-annotation"]
    shown = silo_node("intake", "quarantine").stdout
    assert "broken.dcm" in shown
    assert "Allow it in the policy only after a person has looked" in shown


def test_the_policy_lets_a_pixel_risk_through(silo_node: SiloNode, pacs: Path) -> None:
    silo_node.home.mkdir()
    (silo_node.home / "policy.toml").write_text('[intake]\nallow_pixel_risks = ["burned-in-annotation"]\n')
    assert silo_node.json("intake", "folder", str(pacs))["added"] == 5


def test_a_misspelt_pixel_risk_in_the_policy_stops_the_intake(silo_node: SiloNode, pacs: Path) -> None:
    silo_node.home.mkdir()
    (silo_node.home / "policy.toml").write_text('[intake]\nallow_pixel_risks = ["burned-in-anotation"]\n')
    assert silo_node.code("intake", "folder", str(pacs)) == "policy-invalid"


def test_a_table_is_taken_in(silo_node: SiloNode, tmp_path: Path) -> None:
    table = npz_site(tmp_path / "site", 6)
    assert silo_node.json("intake", "table", str(table.parent), "--table", str(table), "--modality", "dx")["added"] == 6
    assert (
        "0 cases taken in, 0 updated, 6 already there"
        in silo_node("intake", "table", str(table.parent), "--table", str(table), "--modality", "dx").stdout
    )


@pytest.mark.parametrize("option", [("--modality", "SMITH"), ("--collection", "../x")])
def test_a_wrong_option_is_wrong_usage(silo_node: SiloNode, tmp_path: Path, option: tuple[str, str]) -> None:
    table = npz_site(tmp_path / "site", 1)
    assert silo_node("intake", "table", str(table.parent), "--table", str(table), *option).exit_code == 2


def test_a_folder_or_cohort_that_is_not_there_is_told_with_a_code(silo_node: SiloNode, tmp_path: Path) -> None:
    assert silo_node.code("intake", "folder", str(tmp_path / "gone")) == "file-missing"
    assert silo_node.code("cohort", "show", "coh-0000000000000000") == "cohort-unknown"
    assert silo_node.code("cohort", "build", "little_xray", "--definition", "gone.json") == "file-missing"
    assert silo_node.json("cohort", "list") == []
    assert silo_node.json("intake", "quarantine") == []


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"name": "little_xray"}'])
def test_a_definition_that_is_none_is_refused(silo_node: SiloNode, tmp_path: Path, text: str) -> None:
    path = tmp_path / "definition.json"
    path.write_text(text)
    assert silo_node.code("cohort", "build", "little_xray", "--definition", str(path)) == "benchmark-invalid"


def test_every_command_shows_an_example(silo_node: SiloNode) -> None:
    for group, commands in {
        "intake": ("folder", "table", "quarantine"),
        "cohort": ("build", "list", "show", "register", "retire"),
    }.items():
        for command in commands:
            assert f"Example: silo-node {group} {command}" in " ".join(
                silo_node(group, command, "--help").stdout.split()
            )


def test_the_command_starts_without_the_imaging_libraries() -> None:
    program = (
        "import sys, silo_node.cli; print(sorted({'torch','pandas','pydicom','numpy','nibabel'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_from_dicom_to_a_frozen_cohort_with_the_real_preparation_in_the_sandbox(
    silo_node: SiloNode, tmp_path: Path
) -> None:
    """The pipelines' own worker prepares the cases, jailed where bubblewrap works."""
    folder = tmp_path / "pacs"
    for number in range(24):
        save(xray(patient=f"MRN-{number // 2:04d}", seed=number), folder / f"study{number // 2}/{number}.dcm")
    rows = [{"path": f"study{number}", "label": ("normal", "pneumonia")[number % 2]} for number in range(12)]
    table = write_table(folder / "labels.csv", rows)
    silo_node.json("intake", "folder", str(folder), "--table", str(table))
    definition = tmp_path / "definition.json"
    definition.write_text(classification(shape=(12, 10)).model_dump_json())
    built = silo_node.json("cohort", "build", "little_xray", "--definition", str(definition))
    assert (built["state"], built["cases"], built["patients"], built["excluded"]) == ("frozen", 24, 12, {})
    assert silo_node.json("cohort", "show", built["cohort_id"])["registration"] is None
    assert silo_node.json("cohort", "list") == [{k: v for k, v in built.items() if k not in ("excluded", "report")}]
    assert silo_node.json("cohort", "retire", built["cohort_id"], "--yes")["state"] == "retired"
    assert list((silo_node.home / "cohorts").iterdir()) == []
