"""The chest phantom: the same bytes for the same seed, and hospitals that differ as hospitals do."""

import csv
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from benchmarks.chest_phantom.demo import SITES, SPLITS, write_sites
from benchmarks.demonstration import DemoSite
from benchmarks.phantom.chest import Scanner, chest
from benchmarks.phantom.dicom import Device, stored_values, write_dicom
from benchmarks.phantom.patients import invent_patient

PATIENTS = sum(count for _, count in SPLITS)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> list[DemoSite]:
    """All three hospitals' folders."""
    return write_sites(tmp_path_factory.mktemp("sites"))


def rows(site: DemoSite) -> list[dict[str, str]]:
    with site.table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_same_seed_writes_the_same_file(tmp_path: Path) -> None:
    """Pixels, patient, identifiers and order of elements."""
    written = []
    for name in ("a.dcm", "b.dcm"):
        random = np.random.default_rng(4)
        patient = invent_patient(random, 1, "XX")
        write_dicom(
            tmp_path / name, chest(random, finding=True, scanner=Scanner()), patient, Device("A", "B", "C"), number=1
        )
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_every_row_has_its_file_and_every_split_enough_of_both_classes(sites: list[DemoSite]) -> None:
    """Twenty patients of each class in validation and test, or a site could tell nothing."""
    assert [site.name for site in sites] == list(SITES)
    for site in sites:
        table = rows(site)
        assert len(table) == len(list(site.folder.rglob("*.dcm"))) == PATIENTS + len(range(0, PATIENTS, 5))
        for split, _ in SPLITS[1:]:
            for label in ("normal", "opacity"):
                studies = {row["path"].split("/")[0] for row in table if (row["split"], row["label"]) == (split, label)}
                assert len(studies) >= 20


def test_a_patient_is_in_one_split_with_all_images(sites: list[DemoSite]) -> None:
    """Some have two; none may be trained and tested on."""
    for site in sites:
        splits: dict[str, set[str]] = {}
        for row in rows(site):
            patient = str(dcmread(site.folder / row["path"], stop_before_pixels=True).PatientID)
            splits.setdefault(patient, set()).add(row["split"])
        assert len(splits) == PATIENTS
        assert all(len(found) == 1 for found in splits.values())


def test_headers_hold_what_must_never_leave(sites: list[DemoSite]) -> None:
    """A name, a birth date, a number, free text with the name in it, a private block."""
    found = dcmread(sites[0].folder / rows(sites[0])[0]["path"])
    assert "^" in str(found.PatientName)
    assert len(found.PatientBirthDate) == 8
    assert str(found.PatientName.family_name) in found.ImageComments
    assert found.InstitutionName
    assert found.private_block(0x0019, "PHANTOM INTERNAL 1.0")[0x01].value


def test_the_hospitals_differ_in_device_size_and_coding(sites: list[DemoSite]) -> None:
    """Three makers, three matrices, one MONOCHROME1, one with a Rescale Slope."""
    first = [dcmread(site.folder / rows(site)[0]["path"]) for site in sites]
    assert len({found.Manufacturer for found in first}) == 3
    assert {found.Rows for found in first} == {64, 72, 80}
    assert sorted(found.PhotometricInterpretation for found in first) == ["MONOCHROME1", "MONOCHROME2", "MONOCHROME2"]
    assert sum(float(found.RescaleSlope) != 1 for found in first) == 1


def test_uids_are_unique_over_all_hospitals(sites: list[DemoSite]) -> None:
    """And of a length DICOM allows."""
    uids = [
        str(dcmread(path, specific_tags=["SOPInstanceUID"], stop_before_pixels=True).SOPInstanceUID)
        for site in sites
        for path in site.folder.rglob("*.dcm")
    ]
    assert len(set(uids)) == len(uids)
    assert max(map(len, uids)) <= 64


def test_monochrome1_stores_the_negative() -> None:
    """Bright tissue is stored low."""
    image = np.linspace(0, 1, 16).reshape(4, 4)
    plain = stored_values(image, Device("A", "B", "C", gain=1000, offset=0))
    negative = stored_values(image, Device("A", "B", "C", gain=1000, offset=0, photometric="MONOCHROME1"))
    assert np.array_equal(plain + negative, np.full((4, 4), 4095))


def test_the_finding_is_brighter_than_its_absence() -> None:
    """On average over many chests; single ones overlap, as they should."""
    random = np.random.default_rng(0)
    scanner = Scanner(noise=0)
    means = {
        finding: [chest(random, finding=finding, scanner=scanner)[16:48].mean() for _ in range(60)]
        for finding in (False, True)
    }
    assert np.mean(means[True]) > np.mean(means[False])
