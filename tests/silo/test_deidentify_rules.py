"""What may come through de-identification, and what the last look at the output refuses."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from safetensors.numpy import save

from silo_node.deidentify.attributes import AGE_BANDS, age_band, normal_maker, normal_modality, years_from_text
from silo_node.deidentify.dicom_identifiers import dicom_identifiers
from silo_node.deidentify.identifiers import Identifiers, dates, names
from silo_node.deidentify.output_check import check_output
from silo_node.deidentify.pseudonyms import Pseudonyms, load_or_create_site_key, load_site_key
from silo_node.wire.errors import ConfigError, IntegrityError
from tests.silo.sources import xray

CASE, PATIENT = "ab" * 16, "cd" * 16


@pytest.mark.parametrize(
    ("text", "maker"),
    [
        ("GE MEDICAL SYSTEMS", "ge"),
        ("G.E. Medical Systems", "ge"),
        ("SIEMENS", "siemens"),
        ("Siemens Healthineers", "siemens"),
        ("Philips Medical Systems", "philips"),
        ("TOSHIBA_MEC", "canon"),
        ("FUJI PHOTO FILM Co., ltd.", "fujifilm"),
        ("Hitachi Medical Corporation", "fujifilm"),
        ("Gendex", "other"),
        ("St. Elsewhere Hospital", "other"),
        ("  ", None),
    ],
)
def test_makers_become_the_wires_words(text: str, maker: str | None) -> None:
    assert normal_maker(text) == maker


@pytest.mark.parametrize(
    ("text", "band"),
    [("045Y", "45-49"), ("006M", "0-4"), ("010D", "0-4"), ("089Y", "85-89"), ("090Y", "90+"), ("104", "90+")],
)
def test_ages_become_bands_with_ninety_and_over_in_one(text: str, band: str) -> None:
    assert age_band(years_from_text(text)) == band


@pytest.mark.parametrize("text", ["", "nan", "inf", "-3", "200", "old", "1964-08-12"])
def test_what_is_no_age_is_left_out(text: str) -> None:
    assert age_band(years_from_text(text)) is None


@given(st.floats(0, 130))
def test_every_age_has_a_known_band(years: float) -> None:
    assert age_band(years) in AGE_BANDS


def test_only_the_standards_modalities_come_through() -> None:
    assert normal_modality(" dx ") == "DX"
    assert normal_modality("SMIT") is None


@given(st.text(max_size=20), st.text(max_size=20))
def test_pseudonyms_of_a_case_and_a_patient_never_agree_and_depend_on_the_key(one: str, two: str) -> None:
    key, other = Pseudonyms(b"\1" * 32), Pseudonyms(b"\2" * 32)
    assert key.case(one) != key.patient(one)
    assert key.patient(one) != other.patient(one)
    assert key.patient(one) == key.patient(f" {one} ")
    assert (key.patient(one) == key.patient(two)) == (one.strip() == two.strip())
    assert (key.case(one, two) == key.case(one + two)) is False


def test_the_site_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "private/site.key"
    key = load_or_create_site_key(path)
    assert len(key) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_site_key(path) == key
    assert [file.name for file in path.parent.iterdir()] == ["site.key"]


def test_a_site_key_that_others_may_read_or_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "site.key"
    load_or_create_site_key(path)
    path.chmod(0o640)
    with pytest.raises(ConfigError):
        load_site_key(path)
    path.chmod(0o600)
    path.write_bytes(b"short")
    with pytest.raises(ConfigError):
        load_site_key(path)


def test_dates_are_searched_in_three_spellings() -> None:
    assert dates(["19640812"]) == {"19640812", "1964-08-12", "12.08.1964"}
    assert dates(["20240105103000.5+0100"]) >= {"2024-01-05"}


def test_names_are_searched_by_their_parts() -> None:
    assert names(["Musterfrau^Erika^A=Ideo^Graph"]) == {"musterfrau", "erika", "ideo", "graph"}


def test_identifiers_are_found_in_private_blocks_nested_sequences_and_damaged_elements() -> None:
    dataset = xray(patient="MRN-7777", AccessionNumber="ACC-4242", InstitutionName="Elsewhere Clinic")
    dataset.private_block(0x0029, "ACME", create=True).add_new(0x10, "OB", b"\0\1\2binary-marker\0\3\4")
    deep = Dataset()
    deep.PatientName = "Nested^Deeply"
    deep.TextValue = "free text marker"
    for _ in range(3):
        outer = Dataset()
        outer.ContentSequence = Sequence([deep])
        deep = outer
    dataset.ContentSequence = Sequence([deep])
    dataset.file_meta.PrivateInformationCreatorUID = "1.2.3.4.5678901"
    found = dicom_identifiers(dataset)
    assert {"mrn-7777", "acc-4242", "elsewhere clinic", "nested", "deeply", "19640812"} <= found.certain
    assert {"binary-marker", "free text marker", "1.2.3.4.5678901"} <= found.other
    assert not any(text.startswith("1.2.840.10008.") for text in found.other)


def files(**changes: object) -> dict[str, bytes]:
    record: dict[str, object] = {
        "case": CASE,
        "patient": PATIENT,
        "label": "normal",
        "split": None,
        "affine": None,
        "spacing_mm": [0.5, 0.5],
        "attributes": {"sex": "f"},
    }
    image = np.zeros((4, 5), np.uint8)
    return {"image.safetensors": save({"image": image}), "case.json": json.dumps({**record, **changes}).encode()}


def refused(output: dict[str, bytes], identifiers: Identifiers | None = None) -> bool:
    """Tell whether an output is refused for the one reason there is."""
    try:
        check_output(CASE, output, identifiers or Identifiers())
    except IntegrityError as error:
        return error.code == "identifier-leak"
    return False


def test_a_declared_output_passes() -> None:
    assert not refused(files(), Identifiers(certain=frozenset({"musterfrau", "mrn-1"}), other=frozenset({"normal"})))


@pytest.mark.parametrize(
    "output",
    [
        files(comment="seen by Dr. Who"),
        files(patient="MRN-0001"),
        files(attributes={"sex": "f", "ward": "7"}),
        files(attributes={"maker": "St. Elsewhere"}),
        files(label="Erika Musterfrau"),
        files(split="holdout"),
        files(affine=[["19640812"]]),
        files(case="0" * 32),
        {"case.json": b"{}"},
        {**files(), "image.safetensors": save({"image": np.zeros(3, np.uint8)}, metadata={"by": "Dr. Who"})},
        {**files(), "image.safetensors": save({"image": np.zeros(3, np.uint8), "name": np.zeros(9, np.uint8)})},
        {**files(), "image.safetensors": files()["image.safetensors"] + b"Musterfrau"},
        {**files(), "image.safetensors": b"short"},
    ],
)
def test_anything_undeclared_in_the_output_fails_closed(output: dict[str, bytes]) -> None:
    assert refused(output)


@pytest.mark.parametrize(
    "text", ["MUSTERFRAU", "Müller-Lüdenscheid", "MÜLLER-LÜDENSCHEID", "1964-08-12", "12.08.1964", "19640812"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "latin-1"])
def test_a_source_text_in_the_pixels_fails_closed_in_any_case_and_encoding(text: str, encoding: str) -> None:
    pixels = np.frombuffer(b"\0\0" + text.encode(encoding) + b"\0\0", np.uint8)
    output = {**files(), "image.safetensors": save({"image": pixels})}
    certain = frozenset({"musterfrau", "müller-lüdenscheid"}) | dates(["19640812"])
    assert not refused(output)
    assert refused(output, Identifiers(certain=certain))


def test_a_patient_called_like_the_label_or_the_pseudonym_fails_closed() -> None:
    assert refused(files(label="mass lesion"), Identifiers(certain=frozenset({"mass"})))
    assert refused(files(), Identifiers(other=frozenset({PATIENT[:12]})))


def test_short_texts_that_occur_by_chance_are_no_alarm() -> None:
    """Three letters of the hexadecimal alphabet are inside every tenth pseudonym, and in most pixel data."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
    output = {**files(), "image.safetensors": save({"image": noise})}
    assert not refused(output, Identifiers(certain=frozenset({"abc", "cdc", "dab", "bea", "12345"})))
