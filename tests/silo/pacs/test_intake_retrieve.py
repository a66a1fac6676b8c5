"""Studies found in a PACS with C-FIND and sent here on C-MOVE: Orthanc is the PACS."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pydicom
import pytest

from silo_node.config import ListenerSettings, PacsSettings
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.pacs.query import StudyQuery
from silo_node.intake.pacs.retrieve import PacsSource
from silo_node.intake.run import IntakeReport, IntakeRules, take_in_objects
from silo_node.state import Home
from silo_node.wire.errors import ConfigError, MedSiloError
from tests.data import data_folder
from tests.silo.pacs.dcmtk import program
from tests.silo.pacs.orthanc import Orthanc, free_port
from tests.silo.pacs.site import kept, listening
from tests.silo.pacs.test_intake_listener import certificate

RULES = IntakeRules(allowed_risks=frozenset(RISKS))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


def retrieve(home: Home, pacs: Orthanc, query: StudyQuery, *, title: str = "MEDSILO", **settings: Any) -> IntakeReport:
    peer = PacsSettings(**{"host": "127.0.0.1", "port": pacs.dicom, "timeout_seconds": 20.0, **settings})
    listener = ListenerSettings(port=pacs.listener, called_ae_titles=(title,), calling_ae_titles=("PACS",))
    return take_in_objects(home, PacsSource(peer, listener, query), RULES)


def test_a_study_is_found_and_sent_here_and_not_asked_for_twice(pacs: Orthanc, home: Home) -> None:
    folder = data_folder("dicom-samples") / "nih-ge/mr_0004"
    files = sorted(folder.glob("*-0000*.dcm"))
    query = StudyQuery(study=str(pydicom.dcmread(files[0]).StudyInstanceUID))
    report = retrieve(home, pacs, query)
    assert (report.received.new, report.added, report.quarantined.total()) == (9, 1, 0), "one series is one case"
    stored = kept(home)
    for file in files:
        before = pydicom.dcmread(file)
        row, path = stored[str(before.SOPInstanceUID)]
        # DCMTK, inside Orthanc, writes group lengths of its own (retired, PS3.5 section 7.2); all else is the same.
        after = pydicom.dcmread(path)
        assert [element for element in after if element.tag.element] == [
            element for element in before if element.tag.element
        ]
        assert row.source == "c-move"
    again = retrieve(home, pacs, query)
    assert (again.received.new, again.received.known) == (0, 9)


def test_compressed_objects_are_sent_as_the_pacs_has_them(pacs: Orthanc, home: Home) -> None:
    samples = data_folder("dicom-samples")
    for name in ("nema-wg04/CT1_RLE", "nema-wg04/MR2_JPLL", "pydicom/MR_small_jp2klossless.dcm"):
        sample = pydicom.dcmread(samples / name)
        retrieve(home, pacs, StudyQuery(study=str(sample.StudyInstanceUID)))
        row, path = kept(home)[str(sample.SOPInstanceUID)]
        assert row.transfer_syntax == sample.file_meta.TransferSyntaxUID
        assert pydicom.dcmread(path).PixelData == sample.PixelData


def test_the_same_studies_are_found_as_dcmtk_finds(pacs: Orthanc) -> None:
    command = [program("findscu"), "-S", "-aet", "MEDSILO", "-aec", "PACS", "-k", "QueryRetrieveLevel=STUDY"]
    command += ["-k", "StudyInstanceUID", "-k", "ModalitiesInStudy=MR", "127.0.0.1", str(pacs.dicom)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    theirs = set(re.findall(r"\(0020,000d\) UI \[([0-9.]+)", told.stdout + told.stderr))
    settings = PacsSettings(host="127.0.0.1", port=pacs.dicom)
    ours = PacsSource(settings, ListenerSettings(port=0), StudyQuery(modality="MR")).studies()
    assert {study.study for study in ours} == theirs
    assert len(theirs) >= 3


def test_dcmtk_may_ask_the_pacs_to_send_to_a_node_that_listens(pacs: Orthanc, home: Home) -> None:
    sample = pydicom.dcmread(data_folder("dicom-samples") / "pydicom/CT_small.dcm")
    with listening(home, port=pacs.listener) as site:
        command = [program("movescu"), "-S", "-aet", "MEDSILO", "-aec", "PACS", "-aem", "MEDSILO"]
        command += ["-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={sample.StudyInstanceUID}"]
        subprocess.run([*command, "127.0.0.1", str(pacs.dicom)], check=True, timeout=30, capture_output=True)
        assert site.next_report().added == 1


# pynetdicom leaves the socket of a refused connection to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_refuses_and_what_is_not_there_are_told_apart(pacs: Orthanc, home: Home) -> None:
    query = StudyQuery(patient="*")
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({"ae_title": "OTHER"}, "MEDSILO", "pacs-refused"),
        ({}, "STRANGER", "pacs-refused"),
        ({"port": 9}, "MEDSILO", "pacs-unreachable"),
        ({"host": "pacs.invalid"}, "MEDSILO", "pacs-unreachable"),
    ]
    for settings, title, code in wrong:
        with pytest.raises(MedSiloError) as refusal:
            retrieve(home, pacs, query, title=title, **settings)
        assert refusal.value.code == code, settings
    with pytest.raises(ConfigError):
        PacsSource(PacsSettings(), ListenerSettings(), query)
    assert kept(home) == {}


def test_a_study_the_pacs_cannot_send_is_quarantined_and_the_next_run_has_it(pacs: Orthanc, home: Home) -> None:
    """The listener knows other callers than the PACS, so the PACS can connect and is rejected."""
    sample = pydicom.dcmread(data_folder("dicom-samples") / "pydicom/CT_small.dcm")
    query = StudyQuery(study=str(sample.StudyInstanceUID))
    peer = PacsSettings(host="127.0.0.1", port=pacs.dicom)
    deaf = ListenerSettings(port=pacs.listener, calling_ae_titles=("SOMEBODY",))
    report = take_in_objects(home, PacsSource(peer, deaf, query), RULES)
    assert (report.received.new, report.quarantined) == (0, {"pacs-failed": 1})
    assert retrieve(home, pacs, query).added == 1
    assert retrieve(home, pacs, query).quarantined.total() == 0


def test_a_certificate_that_does_not_match_is_told_as_such(home: Home, tmp_path: Path) -> None:
    (pem, key), port = certificate(tmp_path, "pacs"), free_port()
    command = [program("storescp"), "+tls", str(key), str(pem), "-ic", "-od", str(tmp_path), str(port)]
    peer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        subprocess.run([sys.executable, "-c", _WAIT_FOR_PORT, str(port)], check=True, timeout=30)
        for settings, code in (({}, "pacs-certificate"), ({"ca_bundle": pem}, "pacs-refused")):
            pacs = PacsSettings(host="127.0.0.1", port=port, tls=True, timeout_seconds=10, **settings)
            source = PacsSource(pacs, ListenerSettings(), StudyQuery(patient="*"))
            with pytest.raises(MedSiloError) as refusal:
                source.studies()
            assert refusal.value.code == code
    finally:
        peer.terminate()
        peer.wait()


_WAIT_FOR_PORT = """
import socket, sys, time
while True:
    try:
        socket.create_connection(("127.0.0.1", int(sys.argv[1]))).close()
        break
    except OSError:
        time.sleep(0.02)
"""
