"""Building, freezing, verifying, registering and retiring a cohort."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from silo_node.catalogue import Catalogue, CohortRow
from silo_node.cohorts.build import Built, build_cohort
from silo_node.cohorts.manifest import read_manifest
from silo_node.cohorts.registry import (
    find_cohort,
    mark_registered,
    prepare_registration,
    registered_cohort,
    retire_cohort,
    verify_cohort,
)
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import MedSiloError, WorkFailed
from tests.silo.preparations import classification, fit, segmentation
from tests.silo.sources import nifti_site, npz_site, write_table

SILO = "silo-abcdef12"


def take(home: Home, table: Path, *, modality: str = "DX", collection: str = "default") -> None:
    source = TableSource(table, table.parent, collection=collection, modality=modality)
    report = take_in(home, source, IntakeRules(collection=collection))
    assert not report.quarantined


def build(home: Home, definition: BenchmarkDefinition | None = None, *, minimum: int = 1) -> Built:
    return build_cohort(home, definition or classification(), fit, minimum_cases=minimum)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return npz_site(tmp_path / "site", 40, patients=20)


@pytest.fixture
def cohort(home: Home, table: Path) -> CohortRow:
    take(home, table)
    return build(home).cohort


def refusal(home: Home, cohort: CohortRow) -> str | None:
    """Return the code a verification ends with, None where all is well."""
    try:
        verify_cohort(home, cohort.cohort_id)
    except MedSiloError as error:
        return error.code
    return None


def test_a_cohort_is_frozen_with_a_manifest_that_says_what_the_folder_holds(home: Home, cohort: CohortRow) -> None:
    folder = home.cohort(cohort.cohort_id)
    manifest = read_manifest(folder)
    assert cohort.state == "frozen"
    assert cohort.facts["cases"] == 40
    assert cohort.facts["patients"] == 20
    assert sum(cohort.facts[split] for split in ("train", "validation", "test")) == 40
    assert [case.case for case in manifest.cases] == sorted(case.case for case in manifest.cases)
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {
        "manifest.json",
        *(case.path for case in manifest.cases),
    }
    for case in manifest.cases:
        assert case.digest == digest_file(folder / case.path)
        assert load_file(folder / case.path)["label"] == [case.label]
    assert verify_cohort(home, cohort.cohort_id) == manifest


def test_each_image_keeps_its_own_label(home: Home, table: Path, cohort: CohortRow) -> None:
    images = np.load(table.parent / "site.npz")["images"]
    labels = {image.astype(np.float32).tobytes(): index % 2 for index, image in enumerate(images)}
    for case in read_manifest(home.cohort(cohort.cohort_id)).cases:
        prepared = load_file(home.cohort(cohort.cohort_id) / case.path)
        assert labels[prepared["image"][0].tobytes()] == case.label


def test_the_same_cases_give_the_same_cohort_and_fingerprint(home: Home, cohort: CohortRow) -> None:
    assert build(home).cohort == cohort


def test_swapping_two_labels_in_the_table_changes_the_fingerprint(home: Home, table: Path, cohort: CohortRow) -> None:
    lines = table.read_text().splitlines()
    lines[1], lines[2] = lines[1].replace(",0,", ",1,"), lines[2].replace(",1,", ",0,")
    table.write_text("\n".join(lines))
    take(home, table)
    assert build(home).cohort.fingerprint != cohort.fingerprint


def test_swapping_two_label_files_changes_the_fingerprint(home: Home, tmp_path: Path) -> None:
    table = nifti_site(tmp_path / "volumes", 4)
    take(home, table, modality="MR")
    before = build(home, segmentation()).cohort.fingerprint
    one, two, other = (tmp_path / "volumes/labels" / name for name in ("v000.nii.gz", "v001.nii.gz", "t"))
    for source, target in ((one, other), (two, one), (other, two)):
        source.rename(target)
    take(home, table, modality="MR")
    assert build(home, segmentation()).cohort.fingerprint != before


def test_the_fingerprint_differs_between_sites_and_benchmarks(tmp_path: Path, table: Path) -> None:
    found = set()
    for name in ("one", "two"):
        home = Home(tmp_path / name)
        take(home, table)
        for benchmark in ("little_xray", "other_xray"):
            found.add(build(home, classification(name=benchmark)).cohort.fingerprint)
    assert len(found) == 4


def _flip_a_byte(folder: Path) -> None:
    path = sorted((folder / "cases").iterdir())[3]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _swap_two_files(folder: Path) -> None:
    one, two = sorted((folder / "cases").iterdir())[:2]
    first = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(first)


def _rename_a_file(folder: Path) -> None:
    path = sorted((folder / "cases").iterdir())[0]
    path.rename(path.with_name("0" * 32 + ".safetensors"))


def _edit_the_manifest(folder: Path) -> None:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"label":0', '"label":1', 1))


def _swap_two_splits(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    train = next(case for case in manifest["cases"] if case["split"] == "train")
    train["split"] = "test"
    path.write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "harm",
    [
        _flip_a_byte,
        _swap_two_files,
        _rename_a_file,
        _edit_the_manifest,
        _swap_two_splits,
        lambda folder: sorted((folder / "cases").iterdir())[0].unlink(),
        lambda folder: (folder / "cases/more.safetensors").write_bytes(b""),
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text("{}"),
        lambda folder: shutil.rmtree(folder),
    ],
)
def test_any_change_after_freezing_is_noticed(home: Home, cohort: CohortRow, harm: Callable[[Path], object]) -> None:
    assert refusal(home, cohort) is None
    harm(home.cohort(cohort.cohort_id))
    assert refusal(home, cohort) == "cohort-changed"


def test_a_label_the_benchmark_does_not_have_is_refused(home: Home, tmp_path: Path) -> None:
    npz_site(tmp_path / "site", 2)
    rows = [{"path": "site.npz#0", "label": "normal", "patient": "a"}]
    take(home, write_table(tmp_path / "site/t.csv", [*rows, {"path": "site.npz#1", "label": 2, "patient": "b"}]))
    with pytest.raises(MedSiloError) as refused:
        build(home)
    assert refused.value.code == "label-unknown"
    assert list(home.cohorts.iterdir()) == []


def test_a_patient_whom_the_table_puts_into_two_splits_is_refused(home: Home, tmp_path: Path) -> None:
    npz_site(tmp_path / "site", 2)
    rows = [
        {"path": f"site.npz#{index}", "label": 0, "patient": "same", "split": split}
        for index, split in enumerate(("train", "test"))
    ]
    take(home, write_table(tmp_path / "site/t.csv", rows))
    with pytest.raises(MedSiloError) as refused:
        build(home)
    assert refused.value.code == "patient-in-two-splits"


def test_the_tables_split_is_kept(home: Home, tmp_path: Path) -> None:
    npz_site(tmp_path / "site", 9)
    rows = [
        {"path": f"site.npz#{index}", "label": index % 2, "patient": f"p{index}", "split": split}
        for index, split in enumerate(("train", "val", "test") * 3)
    ]
    take(home, write_table(tmp_path / "site/t.csv", rows))
    assert build(home).cohort.facts == {"cases": 9, "patients": 9, "train": 3, "validation": 3, "test": 3}


def test_a_cohort_under_the_sites_minimum_is_refused(home: Home, table: Path) -> None:
    take(home, table)
    with pytest.raises(MedSiloError) as refused:
        build(home, minimum=41)
    assert refused.value.code == "cohort-too-small"
    with pytest.raises(MedSiloError) as refused:
        build(home, classification(modality="CT"), minimum=0)
    assert refused.value.code == "cohort-too-small"


def test_a_site_with_one_class_only_still_has_a_cohort(home: Home, tmp_path: Path) -> None:
    npz_site(tmp_path / "site", 4)
    rows = [{"path": f"site.npz#{index}", "label": "normal", "patient": f"p{index}"} for index in range(4)]
    take(home, write_table(tmp_path / "site/t.csv", rows))
    cohort = build(home).cohort
    registration = prepare_registration(home, cohort.cohort_id, silo_id=SILO, provenance="synthetic")
    assert registration.card.classes == ("fewer-than-20", "fewer-than-20")


def test_cases_of_another_modality_or_without_a_label_are_left_out_and_counted(home: Home, tmp_path: Path) -> None:
    npz_site(tmp_path / "site", 4)
    rows = [
        {"path": "site.npz#0", "label": "normal", "patient": "a", "modality": "MR"},
        {"path": "site.npz#1", "label": "", "patient": "b", "modality": "DX"},
        {"path": "site.npz#2", "label": "normal", "patient": "c", "modality": ""},
    ]
    take(home, write_table(tmp_path / "site/t.csv", rows))
    built = build(home)
    assert built.cohort.facts["cases"] == 1
    assert built.excluded == {"other-modality": 1, "unlabelled": 1}


def _fails(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    raise WorkFailed("work-failed")


def _writes_one_more(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    fit(raw, out, definition)
    (out / "cases/extra.safetensors").write_bytes(b"")


def _swaps_two_cases(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    fit(raw, out, definition)
    for path in (out / "cases").iterdir():
        tensors = load_file(path)
        tensors["label"] = 1 - tensors["label"]
        save_file(tensors, path)


def _writes_another_shape(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    fit(raw, out, classification(shape=(9, 9)))


def _adds_a_remark(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    fit(raw, out, definition)
    for path in (out / "cases").iterdir():
        save_file(load_file(path), path, metadata={"by": "a curious model"})


def _links_to_a_file_outside(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    fit(raw, out, definition)
    path = next((out / "cases").iterdir())
    target = path.rename(out / "elsewhere")
    os.symlink(target, path)


def _leaves_no_report(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    fit(raw, out, definition)
    (out / "prepared.json").unlink()


def _forgets_a_case(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
    fit(raw, out, definition)
    report = json.loads((out / "prepared.json").read_text())
    gone = report["cases"].pop()
    (out / "cases" / f"{gone['case']}.safetensors").unlink()
    (out / "prepared.json").write_text(json.dumps(report))


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (_fails, "work-failed"),
        (_writes_one_more, "output-invalid"),
        (_swaps_two_cases, "output-invalid"),
        (_writes_another_shape, "output-invalid"),
        (_adds_a_remark, "output-invalid"),
        (_links_to_a_file_outside, "output-invalid"),
        (_leaves_no_report, "output-invalid"),
        (_forgets_a_case, "output-invalid"),
    ],
)
def test_a_preparation_that_does_not_do_what_was_declared_leaves_no_cohort(
    home: Home, table: Path, prepare: Callable[[Path, Path, BenchmarkDefinition], None], code: str
) -> None:
    take(home, table)
    with pytest.raises(MedSiloError) as refused:
        build_cohort(home, classification(), prepare, minimum_cases=1)
    assert refused.value.code == code
    assert list(home.cohorts.iterdir()) == []
    assert not (home.private / "staging").exists()
    with Catalogue(home.catalogue) as catalogue:
        assert catalogue.cohorts() == []
    assert build(home).cohort.state == "frozen"


def test_a_case_the_preparation_refuses_is_left_out_and_counted(home: Home, table: Path) -> None:
    def refuse_one(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
        fit(raw, out, definition)
        report = json.loads((out / "prepared.json").read_text())
        refused = report["cases"].pop()["case"]
        (out / "cases" / f"{refused}.safetensors").unlink()
        report["refused"].append({"case": refused, "code": "image-invalid"})
        (out / "prepared.json").write_text(json.dumps(report))

    take(home, table)
    built = build_cohort(home, classification(), refuse_one, minimum_cases=1)
    assert built.cohort.facts["cases"] == 39
    assert built.excluded["image-invalid"] == 1


def test_a_build_that_was_killed_leaves_nothing_for_the_next(home: Home, table: Path) -> None:
    class Killed(BaseException):
        pass

    def killed(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
        fit(raw, out, definition)
        os.rename(out.parent, home.cohorts / "kept")
        raise Killed

    take(home, table)
    with pytest.raises(Killed):
        build_cohort(home, classification(), killed, minimum_cases=1)
    os.rename(home.cohorts / "kept", home.cohorts / "coh-0000000000000000.building")
    built = build(home)
    assert [path.name for path in home.cohorts.iterdir()] == [built.cohort.cohort_id]


def test_the_preparation_sees_only_the_chosen_cases(home: Home, table: Path, tmp_path: Path) -> None:
    take(home, table)
    take(home, nifti_site(tmp_path / "volumes", 3), modality="MR", collection="volumes")
    seen: list[set[str]] = []

    def look(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
        seen.append({path.name for path in raw.iterdir()})
        fit(raw, out, definition)

    built = build_cohort(home, segmentation(), look, minimum_cases=1)
    with Catalogue(home.catalogue) as catalogue:
        assert seen == [{row.case_id for row in catalogue.cases("volumes")}]
    assert built.excluded["other-modality"] == 40


def test_a_registration_tells_bands_and_the_splits_sizes_and_nothing_of_a_patient(
    home: Home, cohort: CohortRow
) -> None:
    registration = prepare_registration(home, cohort.cohort_id, silo_id=SILO, provenance="clinical")
    assert registration.fingerprint == cohort.fingerprint
    told = (registration.training_cases, registration.validation_cases, registration.test_cases)
    assert told == tuple(cohort.facts[split] for split in ("train", "validation", "test"))
    assert registration.card.patients == "20-49"
    assert registration.card.classes == ("20-49", "20-49")
    text = registration.model_dump_json()
    for case in read_manifest(home.cohort(cohort.cohort_id)).cases:
        assert case.case not in text
        assert case.patient not in text


def test_a_maker_with_few_patients_is_not_on_the_card(home: Home, tmp_path: Path) -> None:
    npz_site(tmp_path / "site", 30)
    rows = [
        {"path": f"site.npz#{index}", "label": 0, "patient": f"p{index}", "maker": "Siemens" if index > 8 else "GE"}
        for index in range(30)
    ]
    take(home, write_table(tmp_path / "site/t.csv", rows))
    cohort = build(home).cohort
    registration = prepare_registration(home, cohort.cohort_id, silo_id=SILO, provenance="synthetic")
    assert registration.card.makers == ("siemens",)


def test_a_changed_cohort_is_not_registered(home: Home, cohort: CohortRow) -> None:
    _flip_a_byte(home.cohort(cohort.cohort_id))
    with pytest.raises(MedSiloError) as refused:
        prepare_registration(home, cohort.cohort_id, silo_id=SILO, provenance="synthetic")
    assert refused.value.code == "cohort-changed"


def test_a_cohort_lives_from_draft_to_retired_and_each_step_is_audited(home: Home, cohort: CohortRow) -> None:
    mark_registered(home, cohort.cohort_id, "coh-hub00001")
    assert registered_cohort(home, "little_xray", 1) == find_cohort(home, cohort.fingerprint or "")
    retired = retire_cohort(home, cohort.cohort_id)
    assert (retired.state, retired.hub_cohort_id) == ("retired", "coh-hub00001")
    assert not home.cohort(cohort.cohort_id).exists()
    with Catalogue(home.catalogue) as catalogue:
        assert catalogue.audited(cohort.cohort_id) == [
            (None, "draft"),
            ("draft", "frozen"),
            ("frozen", "registered"),
            ("registered", "retired"),
        ]
    with pytest.raises(MedSiloError) as refused:
        verify_cohort(home, cohort.cohort_id)
    assert refused.value.code == "cohort-unknown"


def test_two_cohorts_are_not_registered_for_one_benchmark_version(home: Home, table: Path, cohort: CohortRow) -> None:
    mark_registered(home, cohort.cohort_id, "coh-hub00001")
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0], lines[1].replace(",0,", ",1,"), *lines[2:]]))
    take(home, table)
    second = build(home).cohort
    with pytest.raises(MedSiloError) as refused:
        prepare_registration(home, second.cohort_id, silo_id=SILO, provenance="synthetic")
    assert refused.value.code == "state-conflict"
    retire_cohort(home, cohort.cohort_id)
    prepare_registration(home, second.cohort_id, silo_id=SILO, provenance="synthetic")


def test_a_retired_cohort_may_be_built_anew_and_gets_another_id(home: Home, cohort: CohortRow) -> None:
    retire_cohort(home, cohort.cohort_id)
    again = build(home).cohort
    assert again.cohort_id != cohort.cohort_id
    assert again.facts == cohort.facts


def test_an_unknown_cohort_is_refused(home: Home) -> None:
    home.create()
    with pytest.raises(MedSiloError) as refused:
        verify_cohort(home, "coh-0000000000000000")
    assert refused.value.code == "cohort-unknown"
