"""A cohort's report, its preview, and the end of a cohort at the site and at the hub."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest

from silo_node.catalogue import Catalogue
from silo_node.cohorts.build import Built, build_cohort
from silo_node.cohorts.manifest import read_manifest
from silo_node.cohorts.quality import measure, quality
from silo_node.cohorts.query import CohortQuery
from silo_node.cohorts.registry import find_cohort, mark_registered, prepare_registration
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.reports.cohort import write_cohort_report
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.errors import BadInput
from tests.silo.peer import peer
from tests.silo.preparations import classification, fit, segmentation
from tests.silo.sources import nifti, write_table
from tests.silo.stand_in import SILO, StandIn, enrolled, free_port
from tests.silo.test_cohort_cli import SiloNode

BRIGHT = 7
"""The number of the image that stands out."""


def xrays(folder: Path, count: int = 40) -> Path:
    folder.mkdir(parents=True)
    images = np.random.default_rng(5).integers(0, 100, (count, 8, 8)).astype(np.int16)
    images[BRIGHT] += 5000
    images[9] = 3
    np.savez(folder / "site.npz", images=images)
    rows = [
        {"path": f"site.npz#{n}", "label": n % 2, "patient": f"P{n:04d}", "sex": "F" if n % 4 else "", "maker": "GE"}
        for n in range(count)
    ]
    return write_table(folder / "t.csv", rows)


def built_from(home: Home, table: Path, definition: BenchmarkDefinition, modality: str) -> Built:
    take_in(home, TableSource(table, table.parent, collection="default", modality=modality), IntakeRules())
    return build_cohort(home, definition, fit, minimum_cases=1)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def test_the_quality_says_what_is_missing_and_what_stands_out(home: Home, tmp_path: Path) -> None:
    built = built_from(home, xrays(tmp_path / "site"), classification(), "DX")
    manifest = read_manifest(home.cohort(built.cohort.cohort_id))
    facts = measure(home.cohort(built.cohort.cohort_id), home.raw, manifest, classification())
    found = quality(facts, manifest, classification())
    assert (found.cases, found.patients) == (40, 40)
    assert {split: counts["cases"] for split, counts in found.splits.items()} == {
        "train": 24,
        "validation": 4,
        "test": 12,
    }
    assert {name: sum(splits.values()) for name, splits in found.labels.items()} == {"normal": 20, "pneumonia": 20}
    assert found.labels["pneumonia"]["test"] == found.labels["normal"]["test"] == 6, "stratified"
    assert found.missing == {"sex": 10, "age_band": 40, "maker": 0}
    assert found.attributes["maker"] == {"ge": 40}
    assert found.sizes == {"8 × 8": 40}
    brightest = max(facts, key=lambda case: case.mean)
    assert found.outliers[0][0] == brightest.case
    assert {case for case, what, _ in found.outliers if what == "mean"} == {brightest.case, *found.flat}
    assert len(found.flat) == 1


def test_a_segmentations_structures_are_measured_in_millilitres(home: Home, tmp_path: Path) -> None:
    rows = []
    for number in range(6):
        labels = np.zeros((6, 7, 8), np.uint8)
        labels[:2, :5, :5] = 1
        if number:
            labels[3, 0, :3] = 2
        image = np.random.default_rng(number).normal(size=(6, 7, 8)).astype(np.float32)
        nifti(tmp_path / f"site/i{number}.nii.gz", image, np.diag([2.0, 2.0, 2.5, 1.0]))
        nifti(tmp_path / f"site/l{number}.nii.gz", labels, np.diag([2.0, 2.0, 2.5, 1.0]))
        rows.append({"path": f"i{number}.nii.gz", "label_path": f"l{number}.nii.gz", "patient": f"P{number}"})
    built = built_from(home, write_table(tmp_path / "site/t.csv", rows), segmentation(), "MR")
    folder = home.cohort(built.cohort.cohort_id)
    facts = measure(folder, home.raw, read_manifest(folder), segmentation())
    assert all(case.structures_ml[0] == pytest.approx(50 * 10 / 1000) for case in facts)
    found = quality(facts, read_manifest(folder), segmentation())
    assert found.without_structure == {"posterior": 1}
    assert found.spacings_mm == {"2 × 2 × 2.5": 6}
    path = write_cohort_report(home, built.cohort, built.steps, segmentation(), {})
    assert "1 cases have no voxel of posterior" in path.read_text()


def test_the_report_has_the_flow_the_pictures_and_no_id_of_a_patient(home: Home, tmp_path: Path) -> None:
    table = xrays(tmp_path / "site")
    take_in(home, TableSource(table, table.parent, collection="default", modality="DX"), IntakeRules())
    query = CohortQuery(include={"sex": ("f",)})
    built = build_cohort(home, classification(), fit, minimum_cases=1, query=query)
    path = write_cohort_report(home, built.cohort, built.steps, classification(), query.document())
    html, facts = path.read_text(), json.loads(path.with_suffix(".json").read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for text in (
        "40 cases, 40 patients",
        "10 by the query&#x27;s sex",
        "30 cases, 30 patients",
        "data:image/png;base64,",
    ):
        assert text in html
    assert facts["query"] == {"include": {"sex": ["f"]}}
    assert [step["reason"] for step in facts["steps"] if step["left_out"]] == ["include-sex"]
    assert not [number for number in range(40) if f"P{number:04d}" in html]
    assert "http://" not in html.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "https://" not in html


@pytest.fixture
def site(tmp_path: Path) -> tuple[SiloNode, StandIn, int]:
    """A node enrolled at a stand-in, with a cohort the hub knows as coh-atthehub1."""
    node, hub, port = SiloNode(tmp_path / "silo"), StandIn(), free_port()
    home = Home(node.home)
    enrolled(home, hub, port)
    built = built_from(home, xrays(tmp_path / "site"), classification(), "DX")
    write_cohort_report(home, built.cohort, built.steps, classification(), {})
    mark_registered(home, built.cohort.cohort_id, "coh-atthehub1")
    return node, hub, port


def cohort_id(node: SiloNode) -> str:
    with Catalogue(Home(node.home).catalogue) as catalogue:
        (row,) = catalogue.cohorts()
    return row.cohort_id


def test_retiring_deletes_images_and_pictures_and_tells_the_hub(site: tuple[SiloNode, StandIn, int]) -> None:
    node, hub, port = site
    home = Home(node.home)
    assert len(list(home.reports.iterdir())) == 2
    with peer(hub, port) as server:
        retired = node.json("cohort", "retire", cohort_id(node), "--yes")
        asked = [(one.method, one.path) for one in server.received]
    assert (retired["state"], retired["hub_told"]) == ("retired", True)
    assert ("POST", "/api/v1/silo/cohorts/coh-atthehub1/retire") in asked
    assert list(home.cohorts.iterdir()) == list(home.reports.iterdir()) == []


def test_a_hub_that_is_away_is_told_later(site: tuple[SiloNode, StandIn, int]) -> None:
    node, hub, port = site
    retired = node.json("cohort", "retire", cohort_id(node), "--yes")
    assert (retired["state"], retired["hub_told"]) == ("retired", False)
    assert list(Home(node.home).cohorts.iterdir()) == []
    with peer(hub, port):
        assert node.json("cohort", "retire", cohort_id(node), "--yes")["hub_told"] is True


def test_the_preview_is_to_the_byte_what_is_signed(site: tuple[SiloNode, StandIn, int]) -> None:
    node, _, _ = site
    home = Home(node.home)
    shown = node.json("cohort", "show", cohort_id(node))["registration"]
    sent = prepare_registration(home, cohort_id(node), silo_id=SILO, provenance=shown["card"]["provenance"])
    assert canonical_bytes(shown) == canonical_bytes(sent)
    assert shown["card"]["classes"] == ["20-49", "20-49"]
    assert find_cohort(home, cohort_id(node)).fingerprint == shown["fingerprint"]


def test_a_query_file_that_does_not_hold_is_refused(tmp_path: Path) -> None:
    node, query = SiloNode(tmp_path / "silo"), tmp_path / "query.toml"
    definition = tmp_path / "definition.json"
    definition.write_text(classification().model_dump_json())
    arguments = ("cohort", "build", "little_xray", "--definition", str(definition), "--query", str(query))
    assert node.code(*arguments) == "file-missing"
    for text, code in {
        "[include]\nsex = ['x']": "query-invalid",
        "[include": "query-invalid",
        "colections = []": "config-unknown-key",
    }.items():
        query.write_text(text)
        result = node(*arguments)
        assert isinstance(result.exception, BadInput)
        assert result.exception.code == code
