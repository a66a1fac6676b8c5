"""Taking in what a table names: NIfTI volumes and NPZ archives, and what a bad table is refused for."""

import json
import os
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pytest
from safetensors.numpy import load_file

from silo_node.catalogue import Catalogue
from silo_node.intake.run import IntakeReport, IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
from silo_node.wire.errors import BadInput
from tests.data import data_folder
from tests.silo.sources import nifti, npz_site, write_table


def take(home: Home, table: Path, *, collection: str = "default") -> IntakeReport:
    source = TableSource(table, table.parent, collection=collection, modality="MR")
    return take_in(home, source, IntakeRules(collection=collection))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    return folder


def test_npz_images_come_in_as_they_are(home: Home, site: Path) -> None:
    table = npz_site(site, 6, patients=3)
    assert take(home, table).added == 6
    images = np.load(site / "site.npz")["images"]
    stored = [load_file(folder / "image.safetensors")["image"] for folder in home.raw.iterdir()]
    assert {image.tobytes() for image in images} == {image.tobytes() for image in stored}
    with Catalogue(home.catalogue) as catalogue:
        assert Counter(Counter(row.patient for row in catalogue.cases()).values()) == {2: 3}


def test_a_volume_keeps_its_values_affine_and_labels(home: Home, site: Path) -> None:
    affine = np.array([[-1.5, 0, 0, 10], [0, 2, 0, -20], [0, 0, 3, 5], [0, 0, 0, 1.0]])
    values = np.random.default_rng(1).normal(size=(4, 5, 6)).astype(np.float32)
    labels = np.random.default_rng(2).integers(0, 3, (4, 5, 6)).astype(np.float32)
    nifti(site / "v.nii.gz", values, affine)
    nifti(site / "l.nii", labels, affine)
    take(home, write_table(site / "t.csv", [{"path": "v.nii.gz", "label_path": "l.nii", "patient": "p-0001"}]))
    (case,) = home.raw.iterdir()
    record = json.loads((case / "case.json").read_bytes())
    oracle = nibabel.load(site / "v.nii.gz")
    assert np.array_equal(load_file(case / "image.safetensors")["image"], np.asanyarray(oracle.dataobj))
    assert np.array_equal(load_file(case / "label.safetensors")["label"], labels.astype(np.uint8))
    assert np.allclose(record["affine"], oracle.affine)
    assert record["spacing_mm"] == [1.5, 2.0, 3.0]


@pytest.mark.parametrize(
    ("values", "labels", "code"),
    [
        (np.zeros((4, 5, 6, 2), np.float32), None, "image-invalid"),
        (np.full((4, 5, 6), np.nan, np.float32), None, "image-invalid"),
        (np.zeros((4, 5, 6), np.float32), np.zeros((4, 5, 7), np.uint8), "image-invalid"),
        (np.zeros((4, 5, 6), np.float32), np.full((4, 5, 6), 0.5, np.float32), "image-invalid"),
        (np.zeros((4, 5, 6), np.float32), np.full((4, 5, 6), -1, np.int16), "image-invalid"),
    ],
)
def test_an_unusable_volume_is_quarantined(home: Home, site: Path, values: object, labels: object, code: str) -> None:
    nifti(site / "v.nii", values)
    row = {"path": "v.nii", "patient": "p", "label_path": ""}
    if labels is not None:
        nifti(site / "l.nii", labels)
        row["label_path"] = "l.nii"
    assert take(home, write_table(site / "t.csv", [row])).quarantined == {code: 1}


def test_a_label_map_that_lies_elsewhere_is_refused(home: Home, site: Path) -> None:
    nifti(site / "v.nii", np.zeros((4, 5, 6), np.float32))
    nifti(site / "l.nii", np.zeros((4, 5, 6), np.uint8), np.diag([1, 1, 2, 1.0]))
    table = write_table(site / "t.csv", [{"path": "v.nii", "patient": "p", "label_path": "l.nii"}])
    assert take(home, table).quarantined == {"image-invalid": 1}


def test_a_cut_volume_and_a_pickle_in_an_archive_are_quarantined(home: Home, site: Path) -> None:
    nifti(site / "v.nii.gz", np.random.default_rng(0).normal(size=(9, 9, 9)))
    (site / "v.nii.gz").write_bytes((site / "v.nii.gz").read_bytes()[:400])
    np.savez(site / "evil.npz", images=np.array([os.system], dtype=object))
    rows = [{"path": "v.nii.gz", "patient": "a", "label": 0}, {"path": "evil.npz", "patient": "b", "label": 0}]
    assert take(home, write_table(site / "t.csv", rows)).quarantined == {"file-undecodable": 2}


def test_two_collections_may_use_the_same_file_names(home: Home, tmp_path: Path) -> None:
    for value, name in enumerate(("one", "two")):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "site.npz", images=np.full((2, 4, 4), value, np.uint8))
        table = write_table(tmp_path / name / "t.csv", [{"path": "site.npz#0", "patient": "p", "label": 0}])
        assert take(home, table, collection=name).added == 1
    assert take(home, table, collection="one").quarantined == {"duplicate-conflict": 1}


def test_an_image_replaced_under_its_name_is_refused(home: Home, site: Path) -> None:
    table = npz_site(site, 3)
    take(home, table)
    np.savez(site / "site.npz", images=np.zeros((3, 8, 8), np.uint8))
    assert take(home, table).quarantined == {"duplicate-conflict": 3}


def test_swapped_labels_are_noticed_though_no_image_changed(home: Home, site: Path) -> None:
    table = npz_site(site, 4)
    take(home, table)
    lines = table.read_text().splitlines()
    lines[1], lines[2] = lines[1].replace(",0,", ",1,"), lines[2].replace(",1,", ",0,")
    table.write_text("\n".join(lines))
    report = take(home, table)
    assert (report.updated, report.unchanged) == (2, 2)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("path,label\nsite.npz#0,0\n", "table-column-missing"),
        ("label,patient\n0,p\n", "table-column-missing"),
        ("path,label,patient\nsite.npz#0,0,p\nsite.npz#0,1,p\n", "table-duplicate-key"),
        ("path,label,patient\n./site.npz#0,0,p\nsite.npz#0,1,p\n", "table-duplicate-key"),
        ("path,label,patient\nsite.npz#9,0,p\n", "label-without-case"),
        ("path,label,patient\ngone.npz#0,0,p\n", "label-without-case"),
        ("path,label_path,patient\nsite.npz#0,gone.nii,p\n", "case-without-label"),
        ("path,label,patient\nsite.npz#0,<b>!,p\n", "label-unknown"),
        ("path,label,patient,split\nsite.npz#0,0,p,holdout\n", "split-unknown"),
        ("path,label,patient\nsite.npz#0,0,\n", "table-unreadable"),
        ("path,label,patient\n../site.npz#0,0,p\n", "table-unreadable"),
        ("path,label,patient\n/etc/passwd,0,p\n", "table-unreadable"),
        ("path,label,patient\ntable.csv,0,p\n", "table-unreadable"),
        ("path,label,patient\nsite.npz#-1,0,p\n", "table-unreadable"),
        ("path,label,patient\nsite.npz#0,0\n", "table-unreadable"),
        ("path,path,label,patient\na,b,0,p\n", "table-unreadable"),
        ('path,label,patient\n"site.npz#0,0,p\n', "table-unreadable"),
        ("", "table-unreadable"),
    ],
)
def test_a_bad_table_is_refused_before_anything_is_taken_in(home: Home, site: Path, text: str, code: str) -> None:
    table = npz_site(site, 2)
    table.write_text(text)
    with pytest.raises(BadInput) as refusal:
        take(home, table)
    assert refusal.value.code == code
    assert not home.path.exists()


def test_a_table_that_is_not_utf8_is_refused_and_a_byte_order_mark_is_not(home: Home, site: Path) -> None:
    table = npz_site(site, 2)
    text = table.read_text()
    table.write_bytes(text.replace("P000000", "M\xfcller").encode("latin-1"))
    with pytest.raises(BadInput) as refusal:
        take(home, table)
    assert refusal.value.code == "table-unreadable"
    table.write_bytes(text.encode("utf-8-sig"))
    assert take(home, table).added == 2


def test_a_refusal_names_the_row_and_no_value(site: Path, home: Home) -> None:
    table = npz_site(site, 2)
    table.write_text("path,label,patient\nsite.npz#0,0,p\nMustermann^Max.npz,1,p\n")
    with pytest.raises(BadInput) as refusal:
        take(home, table)
    assert "row 3" in str(refusal.value)
    assert "Muster" not in str(refusal.value)


def test_attributes_of_the_table_are_normalised(home: Home, site: Path) -> None:
    npz_site(site, 1)
    row = {"path": "site.npz#0", "label": 1, "patient": "p", "sex": "female", "age": "92", "maker": "Hitachi Medical"}
    take(home, write_table(site / "t.csv", [{**row, "split": "val", "ward": "intensive care"}]))
    (case,) = home.raw.iterdir()
    record = json.loads((case / "case.json").read_bytes())
    assert record["attributes"] == {"sex": "f", "age_band": "90+", "maker": "fujifilm"}
    assert record["split"] == "validation"


def test_real_volumes_of_every_storage_kind_come_in(home: Home, site: Path) -> None:
    """The Decathlon's hippocampus volumes are stored as uint8 and float32, and a few label maps are floats."""
    source = data_folder("hippocampus")
    names = sorted(path.name for path in next(source.glob("*mages*")).glob("*.nii*"))[::20]
    (site / "images").symlink_to(next(source.glob("*mages*")))
    (site / "labels").symlink_to(next(source.glob("*abels*")))
    rows = [{"path": f"images/{name}", "label_path": f"labels/{name}", "patient": name} for name in names]
    report = take(home, write_table(site / "t.csv", rows))
    assert (report.added, report.quarantined) == (len(names), Counter())
    for folder in home.raw.iterdir():
        label = load_file(folder / "label.safetensors")["label"]
        assert set(np.unique(label)) == {0, 1, 2}
        assert label.shape == load_file(folder / "image.safetensors")["image"].shape
