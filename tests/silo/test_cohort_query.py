"""Which cases a cohort is made of: the query, the flow, labels that come later, and pictures that are there twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo_node.cohorts.build import Built, build_cohort
from silo_node.cohorts.leakage import check_leakage
from silo_node.cohorts.manifest import Manifest, ManifestCase, read_manifest
from silo_node.cohorts.query import CohortQuery, Range
from silo_node.cohorts.selection import Candidate, Chosen, Selection, select, without_duplicates
from silo_node.cohorts.split import SPLITS
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.run import IntakeRules, take_in, take_in_objects
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.errors import BadInput, IntegrityError
from tests.silo.preparations import classification, fit
from tests.silo.sources import save, write_table, xray


def candidate(number: int, **changes: object) -> Candidate:
    facts: dict[str, object] = {
        "case_id": f"{number:016x}",
        "patient": f"{number // 2:016x}",
        "modality": "DX",
        "label": str(number % 2),
        "has_label_map": False,
        "split": None,
        "attributes": {"sex": "mf"[number % 2]} if number % 3 else {},
        "spacing_mm": (0.1 * (1 + number % 4),) * 2,
        "shape": (8, 8),
        "pixels": f"p{number}",
    }
    return Candidate(**{**facts, **changes})  # type: ignore[arg-type]


def steps_of(selection: Selection) -> dict[str, int]:
    return {step.reason: step.left_out for step in selection.steps}


def test_each_criterion_is_one_step_with_what_it_left_out() -> None:
    candidates = [candidate(number) for number in range(12)] + [candidate(99, modality="CT")]
    query = CohortQuery(
        include={"sex": ("f",)}, spacing_mm=Range(maximum=0.35), voxels=Range(minimum=8), one_case_a_patient=True
    )
    selection = select(candidates, classification(), query)
    assert steps_of(selection) == {
        "in-store": 0,
        "other-modality": 1,
        "include-sex": 8,
        "spacing": 2,
        "size": 0,
        "unlabelled": 0,
        "one-case-a-patient": 0,
    }
    assert [step.cases for step in selection.steps] == [13, 12, 4, 2, 2, 2, 2]
    assert [int(case.candidate.case_id, 16) for case in selection.chosen] == [1, 5]


def test_excluding_a_value_keeps_the_cases_that_do_not_tell() -> None:
    chosen = select([candidate(n) for n in range(6)], classification(), CohortQuery(exclude={"sex": ("m",)})).chosen
    assert [int(case.candidate.case_id, 16) for case in chosen] == [0, 1, 3, 5]


@given(st.lists(st.integers(0, 30), unique=True, max_size=20), st.booleans())
def test_the_flow_adds_up_and_does_not_depend_on_the_order(numbers: list[int], one_each: bool) -> None:
    query = CohortQuery(include={"sex": ("m", "f")}, one_case_a_patient=one_each)
    selection = select([candidate(number) for number in numbers], classification(), query)
    assert selection == select([candidate(number) for number in reversed(numbers)], classification(), query)
    left = len(numbers)
    for step in selection.steps:
        left -= step.left_out
        assert step.cases == left
    assert len(selection.chosen) == left


@pytest.mark.parametrize(
    "criteria",
    [{"include": {"ward": ["7"]}}, {"exclude": {"sex": ["x"]}}, {"collections": ["../x"]}, {"spacing": {"maximum": 1}}],
)
def test_a_criterion_that_does_not_exist_is_refused(criteria: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"one of|pattern|Extra"):
        CohortQuery.model_validate_json(json.dumps(criteria))


def test_of_equal_pictures_the_one_in_the_test_split_stays() -> None:
    cases = [Chosen(candidate(number, patient=f"p{number}", pixels="same"), 1) for number in range(3)]
    splits = dict(zip(("p0", "p1", "p2"), SPLITS, strict=True))
    kept = without_duplicates(Selection(tuple(cases), ()), splits.__getitem__)
    assert [case.candidate.patient for case in kept.chosen] == ["p2"]
    assert steps_of(kept) == {"copies-with-other-labels": 0, "duplicate-pixels": 2}


def test_copies_that_contradict_each_other_all_go() -> None:
    cases = [Chosen(candidate(number, pixels="same"), number) for number in range(2)]
    kept = without_duplicates(Selection(tuple(cases), ()), lambda patient: "train")
    assert kept.chosen == ()
    assert steps_of(kept)["copies-with-other-labels"] == 2


def manifest(*cases: tuple[str, str]) -> Manifest:
    return Manifest(
        cohort_id="coh-" + "0" * 16,
        benchmark=BenchmarkReference(name="x_ray", version=1, digest="blake3:" + "0" * 64),
        cases=tuple(
            ManifestCase(
                case=f"{number:016x}",
                patient=patient * 16,
                split=split,  # type: ignore[arg-type]
                path=f"cases/{number:016x}.safetensors",
                digest="blake3:" + "0" * 64,
                label=0,
                attributes={},
            )
            for number, (patient, split) in enumerate(cases)
        ),
    )


def test_a_patient_or_a_picture_in_two_splits_fails_closed() -> None:
    check_leakage(manifest(("a", "train"), ("a", "train"), ("b", "test")), {"0" * 16: "p", f"{2:016x}": "q"})
    with pytest.raises(IntegrityError, match="two splits"):
        check_leakage(manifest(("a", "train"), ("a", "test")), {})
    with pytest.raises(IntegrityError, match="two splits"):
        check_leakage(manifest(("a", "train"), ("b", "test")), {"0" * 16: "p", f"{1:016x}": "p"})


def build(home: Home, **options: object) -> Built:
    return build_cohort(home, classification(), fit, minimum_cases=1, **options)  # type: ignore[arg-type]


def test_the_same_picture_under_two_patients_is_in_the_cohort_once(tmp_path: Path) -> None:
    home, folder = Home(tmp_path / "silo"), tmp_path / "site"
    folder.mkdir()
    images = np.random.default_rng(1).integers(0, 255, (6, 8, 8), dtype=np.uint8)
    images[5] = images[0]
    np.savez(folder / "site.npz", images=images)
    rows = [{"path": f"site.npz#{n}", "label": 1 if n in (0, 5) else n % 2, "patient": f"P{n}"} for n in range(6)]
    table = write_table(folder / "t.csv", rows)
    take_in(home, TableSource(table, folder, collection="default", modality="DX"), IntakeRules())
    built = build(home)
    assert built.excluded == {"duplicate-pixels": 1}
    assert built.cohort.facts["cases"] == 5


@pytest.fixture
def arrived(tmp_path: Path) -> Home:
    """A site whose PACS sent six images without any table."""
    home = Home(tmp_path / "silo")
    for number in range(6):
        image = xray(rows=8, columns=8, patient=f"MRN-{number // 2}", seed=number, AccessionNumber=f"A{number // 2}")
        save(image, tmp_path / f"pacs/{number}.dcm")
    take_in_objects(home, DicomFolder(tmp_path / "pacs"), IntakeRules())
    return home


@pytest.mark.parametrize(("key", "values"), [("patient", ("MRN-0", "MRN-2")), ("accession", ("A0", "A2"))])
def test_labels_that_come_after_the_images_are_joined_by_keyed_hash(
    arrived: Home, tmp_path: Path, key: str, values: tuple[str, str]
) -> None:
    rows = [{key: values[0], "label": "normal", "split": "test"}, {key: values[1], "label": "pneumonia", "split": ""}]
    built = build(arrived, labels=write_table(tmp_path / "labels.csv", rows))
    assert built.excluded == {"unlabelled": 2}
    cases = read_manifest(arrived.cohort(built.cohort.cohort_id)).cases
    assert sorted((case.label, case.split == "test") for case in cases if case.label == 0) == [(0, True)] * 2
    assert len(cases) == 4
    assert not any(value.encode() in path.read_bytes() for value in values for path in arrived.cohorts.rglob("*.json"))


def test_labels_by_instance(arrived: Home, tmp_path: Path) -> None:
    uid = xray(patient="MRN-1", seed=3).SOPInstanceUID
    built = build(arrived, labels=write_table(tmp_path / "labels.csv", [{"instance": uid, "label": 1}]))
    assert built.cohort.facts["cases"] == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("patient,label\nMRN-9,normal\n", "label-without-case"),
        ("patient,label\nMRN-0,normal\nMRN-0,pneumonia\n", "table-duplicate-key"),
        ("ward,label\n7,normal\n", "table-column-missing"),
        ("patient,finding\nMRN-0,normal\n", "table-column-missing"),
        ("", "table-column-missing"),
        ("patient,label\nMRN-0,Frau Muster 12.3.!\n", "label-unknown"),
        ("patient,label\nMRN-0,fracture\n", "label-unknown"),
        ("patient,label,split\nMRN-0,normal,holdout\n", "split-unknown"),
        ("patient,label\nMRN-0\n", "table-unreadable"),
        ("patient,label\nMRN-0,m\xfcller\n".encode("latin-1"), "table-unreadable"),
        (None, "file-missing"),
    ],
)
def test_a_label_table_that_does_not_hold_is_refused_with_a_code(
    arrived: Home, tmp_path: Path, text: str | bytes | None, code: str
) -> None:
    table = tmp_path / "labels.csv"
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput) as refusal:
        build(arrived, labels=table)
    assert refusal.value.code == code
    assert list(arrived.cohorts.iterdir()) == []


def test_who_was_drawn_for_training_once_never_comes_into_a_test(tmp_path: Path) -> None:
    """The next year's cohort has more patients; the old ones stay where a model may have seen them."""
    home, folder = Home(tmp_path / "silo"), tmp_path / "site"
    folder.mkdir()
    np.savez(folder / "site.npz", images=np.random.default_rng(1).integers(0, 255, (60, 8, 8), dtype=np.uint8))
    rows = [{"path": f"site.npz#{n}", "label": n % 2, "patient": f"P{n}"} for n in range(60)]
    found = []
    for count in (30, 60):
        table = write_table(folder / "t.csv", rows[:count])
        take_in(home, TableSource(table, folder, collection="default", modality="DX"), IntakeRules())
        cases = read_manifest(home.cohort(build(home).cohort.cohort_id)).cases
        found.append({case.patient: case.split for case in cases})
    assert {patient: found[1][patient] for patient in found[0]} == found[0]
    assert len(found[1]) == 60
    assert list(found[1].values()).count("test") == 18
