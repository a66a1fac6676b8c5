"""Decoding every transfer syntax of the samples, and what happens to what cannot be decoded."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from safetensors.numpy import load_file

from silo_node.catalogue import Catalogue
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.dicom_folder import DicomFolder
from silo_node.intake.external_decoder import NOT_READ_HERE, DecodableFiles
from silo_node.intake.run import IntakeReport, IntakeRules, retry, take_in_objects
from silo_node.state import Home
from silo_node.wire.errors import ConfigError
from tests.data import data_folder
from tests.silo.pacs.dcmtk import program
from tests.silo.sources import save, write_table, xray

ALLOWED = frozenset(RISKS)
READ_HERE = {
    "pydicom/MR_small.dcm": "1.2.840.10008.1.2.1",
    "pydicom/MR_small_implicit.dcm": "1.2.840.10008.1.2",
    "pydicom/MR_small_bigendian.dcm": "1.2.840.10008.1.2.2",
    "pydicom/image_dfl.dcm": "1.2.840.10008.1.2.1.99",
    "pydicom/SC_rgb_jpeg_dcmtk.dcm": "1.2.840.10008.1.2.4.50",
    "nema-wg04/CT2_JLSL": "1.2.840.10008.1.2.4.80",
    "nema-wg04/NM1_JLSN": "1.2.840.10008.1.2.4.81",
    "nema-wg04/CT1_J2KR": "1.2.840.10008.1.2.4.90",
    "nema-wg04/MR1_J2KI": "1.2.840.10008.1.2.4.91",
    "nema-wg04/CT1_RLE": "1.2.840.10008.1.2.5",
}
ELSEWHERE = {
    "nema-wg04/MR1_JPLY": "1.2.840.10008.1.2.4.51",
    "nema-wg04/MR4_JPLY": "1.2.840.10008.1.2.4.51",
    "nema-wg04/MR2_JPLL": "1.2.840.10008.1.2.4.70",
    "pydicom/JPEG-LL.dcm": "1.2.840.10008.1.2.4.70",
}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def take(home: Home, sample: str, decoder: Path | None = None) -> IntakeReport:
    """Take in one sample; the table says whose it is, since some have no patient."""
    folder = home.path.parent / sample.replace("/", "-")
    folder.mkdir(exist_ok=True)
    shutil.copyfile(data_folder("dicom-samples") / sample, folder / "x.dcm")
    table = write_table(folder.with_suffix(".csv"), [{"path": "x.dcm", "patient": "P1"}])
    rules = IntakeRules(allowed_risks=ALLOWED, external_decoder=decoder)
    return take_in_objects(home, DicomFolder(folder, table), rules)


@pytest.mark.parametrize(("sample", "syntax"), READ_HERE.items())
def test_the_decoders_that_are_always_there_read(home: Home, sample: str, syntax: str) -> None:
    dataset = pydicom.dcmread(data_folder("dicom-samples") / sample)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    report = take(home, sample)
    assert (report.added, dict(report.quarantined)) == (1, {})


@pytest.mark.parametrize("coded", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless"])
def test_a_lossless_code_gives_exactly_the_pixels_of_the_plain_file(home: Home, tmp_path: Path, coded: str) -> None:
    take(home, f"pydicom/{coded}.dcm")
    other = Home(tmp_path / "other/silo")
    other.path.parent.mkdir()
    take(other, "pydicom/MR_small.dcm")
    images = [load_file(next(place.raw.iterdir()) / "image.safetensors")["image"] for place in (home, other)]
    assert np.array_equal(*images)


@pytest.mark.parametrize(("sample", "syntax"), ELSEWHERE.items())
def test_what_nothing_here_reads_waits_in_quarantine_for_a_decoder(home: Home, sample: str, syntax: str) -> None:
    """Without the decoder under GPL; where a developer has it, these are read at once."""
    if any(_has_gpl_decoder(uid) for uid in NOT_READ_HERE):
        pytest.skip("pylibjpeg-libjpeg is installed here")
    assert pydicom.dcmread(data_folder("dicom-samples") / sample).file_meta.TransferSyntaxUID == syntax
    assert take(home, sample).quarantined == {"file-undecodable": 1}
    rules = IntakeRules(allowed_risks=ALLOWED)
    assert retry(home, rules).quarantined == {"file-undecodable": 1}
    decoder = Path(program("dcmdjpeg"))
    assert retry(home, IntakeRules(allowed_risks=ALLOWED, external_decoder=decoder)).added == 1
    with Catalogue(home.catalogue) as catalogue:
        assert catalogue.quarantine() == []
    assert not list(home.private.glob("decode-*"))


def _has_gpl_decoder(syntax: str) -> bool:
    return "pylibjpeg" in pydicom.pixels.get_decoder(syntax).available_plugins


def test_the_external_decoder_gives_the_pixels_of_the_lossless_image(home: Home) -> None:
    """The independent witness is DCMTK's own copy of the file without compression."""
    decoder = Path(program("dcmdjpeg"))
    take(home, "nema-wg04/MR2_JPLL", decoder)
    plain = home.path.parent / "plain.dcm"
    subprocess.run([decoder, data_folder("dicom-samples") / "nema-wg04/MR2_JPLL", plain], check=True)
    image = load_file(next(home.raw.iterdir()) / "image.safetensors")["image"]
    dataset = pydicom.dcmread(plain)
    expected = pydicom.pixels.apply_modality_lut(dataset.pixel_array, dataset).astype(np.float32)
    assert np.array_equal(image, expected)


def test_a_decoder_that_hangs_or_dies_only_leaves_the_object_in_quarantine(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("silo_node.intake.external_decoder.SECONDS", 0.2)
    for number, text in enumerate(("exec sleep 60", "kill -SEGV $$", "echo not dicom > $2")):
        script = tmp_path / f"decoder{number}"
        script.write_text(f"#!/bin/sh\n{text}\n")
        script.chmod(0o700)
        assert take(home, "pydicom/JPEG-LL.dcm", script).quarantined.total() == 1


def test_a_program_that_is_not_there_is_told_before_anything_is_read(home: Home) -> None:
    with pytest.raises(ConfigError) as refusal:
        DecodableFiles(home.create(), Path("/nowhere/dcmdjpeg"))
    assert refusal.value.code == "config-invalid"


def test_what_a_rule_refused_passes_once_the_rule_allows_it(home: Home, tmp_path: Path) -> None:
    save(xray(BurnedInAnnotation="YES"), tmp_path / "pacs/a.dcm")
    assert take_in_objects(home, DicomFolder(tmp_path / "pacs"), IntakeRules()).quarantined == {"pixel-risk": 1}
    shutil.rmtree(tmp_path / "pacs")
    assert retry(home, IntakeRules(allowed_risks=ALLOWED)).added == 1
