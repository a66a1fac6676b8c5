"""Studies fetched over DICOMweb, from Orthanc and from services that misbehave in ways Orthanc does not."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pydicom
import pytest

from silo_node.catalogue import Catalogue
from silo_node.config import DicomWebSettings
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.intake.objects.index import ObjectIndex
from silo_node.intake.pacs.dicomweb import DicomWebSource
from silo_node.intake.pacs.http import DicomWebConnection
from silo_node.intake.pacs.multipart import only_part
from silo_node.intake.pacs.query import StudyQuery
from silo_node.intake.run import IntakeReport, IntakeRules, take_in_objects
from silo_node.state import Home
from silo_node.wire.errors import BadInput, ConfigError, MedSiloError
from tests.data import data_folder
from tests.silo.pacs.orthanc import PASSWORD, USER, Orthanc
from tests.silo.pacs.site import kept
from tests.silo.pacs.test_intake_listener import certificate, data_set
from tests.silo.sources import save, xray

RULES = IntakeRules(allowed_risks=frozenset(RISKS))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "silo")


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text(PASSWORD + "\n")
    return path


def connect(url: str, **settings: Any) -> DicomWebConnection:
    """Connect without the pauses between attempts."""
    return DicomWebConnection(DicomWebSettings(url=url, **settings), sleep=lambda seconds: None)


def fetch(home: Home, connection: DicomWebConnection, page: int = 200, **query: str) -> IntakeReport:
    return take_in_objects(home, DicomWebSource(connection, StudyQuery(**query), page=page), RULES)


def test_a_study_of_the_pacs_comes_in_byte_for_byte(pacs: Orthanc, home: Home, password: Path) -> None:
    sample = data_folder("dicom-samples") / "nih-ge/mr_0004/axial_epi_fmri_interleaved_i_to_s-00001.dcm"
    study = str(pydicom.dcmread(sample).StudyInstanceUID)
    connection = connect(f"{pacs.url}/dicom-web", user=USER, password_file=password)
    report = fetch(home, connection, study=study)
    assert (report.received.new, report.quarantined.total()) == (9, 0)
    stored = kept(home)
    for file in sample.parent.glob("*-0000*.dcm"):
        row, path = stored[str(pydicom.dcmread(file).SOPInstanceUID)]
        assert data_set(path) == data_set(file)
        assert (row.study, row.source) == (study, "dicomweb")
    again = fetch(home, connection, study=study)
    assert (again.received.new, again.received.known) == (0, 9)


def test_compressed_objects_keep_their_transfer_syntax(pacs: Orthanc, home: Home, password: Path) -> None:
    """Without a word about it in the request, a service may send everything as Explicit VR Little Endian."""
    samples = data_folder("dicom-samples")
    connection = connect(f"{pacs.url}/dicom-web", user=USER, password_file=password)
    for name in ("nema-wg04/CT1_RLE", "nema-wg04/MR2_JPLL", "pydicom/MR_small_jp2klossless.dcm"):
        sample = pydicom.dcmread(samples / name)
        fetch(home, connection, study=str(sample.StudyInstanceUID))
        row, path = kept(home)[str(sample.SOPInstanceUID)]
        assert row.transfer_syntax == sample.file_meta.TransferSyntaxUID
        assert data_set(path) == data_set(samples / name)


def test_filters_choose_studies_and_pages_bring_all_of_them(pacs: Orthanc, home: Home, password: Path) -> None:
    connection = connect(f"{pacs.url}/dicom-web", user=USER, password_file=password)
    everything = {study.study for study in DicomWebSource(connection, StudyQuery(patient="*")).studies()}
    paged = [study.study for study in DicomWebSource(connection, StudyQuery(patient="*"), page=2).studies()]
    assert len(everything) == len(pacs.call("GET", "/studies").json())
    assert sorted(paged) == sorted(everything)
    scanned = {study.study for study in DicomWebSource(connection, StudyQuery(modality="CT")).studies()}
    assert 0 < len(scanned) < len(everything)
    matches = pacs.call("POST", "/tools/find", json={"Level": "Study", "Query": {"ModalitiesInStudy": "CT"}}).json()
    tags = [pacs.call("GET", f"/studies/{found}").json()["MainDicomTags"] for found in matches]
    assert scanned == {found["StudyInstanceUID"] for found in tags}
    assert list(DicomWebSource(connection, StudyQuery(since="29990101")).studies()) == []


def test_a_wrong_password_is_told_apart_from_a_pacs_that_is_not_there(
    pacs: Orthanc, home: Home, password: Path
) -> None:
    password.write_text("wrong")
    with pytest.raises(MedSiloError) as refusal:
        fetch(home, connect(f"{pacs.url}/dicom-web", user=USER, password_file=password), patient="*")
    assert refusal.value.code == "pacs-refused"
    with pytest.raises(MedSiloError) as refusal:
        fetch(home, connect("http://127.0.0.1:9/dicom-web"), patient="*")
    assert refusal.value.code == "pacs-unreachable"


def test_a_search_for_everything_and_a_password_others_may_read_are_refused(password: Path) -> None:
    with pytest.raises(BadInput):
        StudyQuery()
    with pytest.raises(BadInput):
        StudyQuery(since="last week")
    password.chmod(0o644)
    with pytest.raises(ConfigError) as refusal:
        connect("https://pacs.example.org", user=USER, password_file=password)
    assert refusal.value.code == "config-invalid"


Answer = Callable[[str, BaseHTTPRequestHandler], tuple[int, str, bytes]]


@contextmanager
def service(answer: Answer, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run a DICOMweb service of which every answer is written by the test."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, kind, body = answer(self.path, self)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


JSON = "application/dicom+json"


class Pictures:
    """Three images of one study, as a service gives them."""

    def __init__(self, folder: Path) -> None:
        images = [xray(seed=seed) for seed in range(3)]
        self.files = {
            str(image.SOPInstanceUID): save(image, folder / f"{seed}.dcm") for seed, image in enumerate(images)
        }
        self.study = str(images[0].StudyInstanceUID)
        self.series = str(images[0].SeriesInstanceUID)

    def answer(self, path: str, request: BaseHTTPRequestHandler) -> tuple[int, str, bytes]:
        path = path.partition("?")[0]
        if path.endswith("/studies"):
            return 200, JSON, json.dumps([{"0020000D": {"vr": "UI", "Value": [self.study]}}]).encode()
        if path.endswith("/instances"):
            return 200, JSON, json.dumps([self._entry(instance) for instance in self.files]).encode()
        body = b"--x\r\nContent-Type: application/dicom\r\n\r\n%b\r\n--x--\r\n"
        data = self.files[path.rpartition("/")[2]].read_bytes()
        return 200, 'multipart/related; type="application/dicom"; boundary=x', body % data

    def _entry(self, instance: str) -> dict[str, Any]:
        uids = {"0020000E": self.series, "00080018": instance}
        return {tag: {"vr": "UI", "Value": [uid]} for tag, uid in uids.items()}


def test_a_500_in_the_middle_is_tried_again_and_nothing_is_lost(home: Home, tmp_path: Path) -> None:
    pictures, failures = Pictures(tmp_path / "p"), iter([500, 503, 502])

    def answer(path: str, request: BaseHTTPRequestHandler) -> tuple[int, str, bytes]:
        status = next(failures, 200) if path.count("/") > 4 else 200
        return (status, "text/plain", b"") if status != 200 else pictures.answer(path, request)

    with service(answer) as url:
        report = fetch(home, connect(url), patient="*")
    assert (report.added, report.quarantined.total()) == (3, 0)


def test_an_object_the_service_cannot_give_is_quarantined_and_its_study_waits_for_it(
    home: Home, tmp_path: Path
) -> None:
    pictures = Pictures(tmp_path / "p")
    broken = list(pictures.files)[1]

    def answer(path: str, request: BaseHTTPRequestHandler) -> tuple[int, str, bytes]:
        return (500, "text/plain", b"") if path.endswith(broken) else pictures.answer(path, request)

    with service(answer) as url:
        report = fetch(home, connect(url, attempts=2), patient="*")
    assert (report.received.new, report.added) == (2, 0)
    assert report.quarantined == {"pacs-failed": 1}
    with service(pictures.answer) as url:
        repaired = fetch(home, connect(url), patient="*")
    assert (repaired.received.new, repaired.received.known, repaired.added) == (1, 2, 3)


def test_a_service_that_goes_away_in_the_middle_ends_the_run_which_goes_on_where_it_stopped(
    home: Home, tmp_path: Path
) -> None:
    pictures, fetched = Pictures(tmp_path / "p"), []

    def answer(path: str, request: BaseHTTPRequestHandler) -> tuple[int, str, bytes]:
        if path.count("/") > 4:
            fetched.append(path)
            if len(fetched) == 3:
                request.connection.close()
                raise ConnectionResetError
        return pictures.answer(path, request)

    with service(answer) as url, pytest.raises(MedSiloError) as refusal:
        fetch(home, connect(url, attempts=1), patient="*")
    assert refusal.value.code == "pacs-unreachable"
    with ObjectIndex(home) as index:
        assert index.count()[1] == 2
        assert index.pending("default") == []
    with service(pictures.answer) as url:
        report = fetch(home, connect(url), patient="*")
    assert (report.received.new, report.received.known, report.added) == (1, 2, 3)


def test_a_service_that_ignores_limit_and_offset_is_not_asked_for_ever(tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "p")
    with service(pictures.answer) as url:
        found = list(DicomWebSource(connect(url), StudyQuery(patient="*"), page=1).studies())
    assert [study.study for study in found] == [pictures.study]


def test_the_token_the_proxy_and_the_client_certificate_are_used(home: Home, tmp_path: Path) -> None:
    pictures, seen = Pictures(tmp_path / "p"), []
    (server_pem, server_key), (node_pem, node_key) = certificate(tmp_path, "pacs"), certificate(tmp_path, "node")
    token = tmp_path / "token"
    token.touch(mode=0o600)
    token.write_text("abc.def")

    def answer(path: str, request: BaseHTTPRequestHandler) -> tuple[int, str, bytes]:
        seen.append((path, request.headers["Authorization"]))
        return pictures.answer(path, request)

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server_pem, server_key)
    tls.load_verify_locations(node_pem)
    tls.verify_mode = ssl.CERT_REQUIRED
    shown = {"client_certificate": node_pem, "client_key": node_key, "token_file": token}
    with service(answer, tls) as url:
        assert fetch(home, connect(url, ca_bundle=server_pem, **shown), patient="*").added == 3
        with pytest.raises(MedSiloError) as refusal:
            fetch(home, connect(url, **shown), patient="*")
        assert refusal.value.code == "pacs-certificate"
        with pytest.raises(MedSiloError) as refusal:
            fetch(home, connect(url.replace("127.0.0.1", "localhost"), ca_bundle=server_pem, **shown), patient="*")
        assert refusal.value.code == "pacs-certificate"
    assert {header for _, header in seen} == {"Bearer abc.def"}
    # A plain proxy is asked for the whole address.
    seen.clear()
    with service(answer) as proxy:
        list(DicomWebSource(connect("http://pacs.invalid", proxy=proxy), StudyQuery(patient="*")).studies())
    assert seen[0][0].startswith("http://pacs.invalid/studies?")


@pytest.mark.parametrize("answer", [b"<html>", b'{"a": 1}', b"[1, 2]"])
def test_an_answer_that_is_no_search_result_brings_nothing_in(home: Home, answer: bytes) -> None:
    with service(lambda path, request: (200, JSON, answer)) as url:
        source = DicomWebSource(connect(url), StudyQuery(patient="*"))
        if answer == b"[1, 2]":
            assert list(source.studies()) == []
        else:
            with pytest.raises(BadInput):
                list(source.studies())


def test_a_part_that_is_cut_short_is_not_taken_for_an_object() -> None:
    kind = 'multipart/related; type="application/dicom"; boundary="a b"'
    assert only_part(kind, b"--a b\r\nX: y\r\n\r\nbytes\r\n\r\n--a b--") == b"bytes\r\n"
    assert only_part("application/dicom", b"bytes") == b"bytes"
    with pytest.raises(BadInput):
        only_part(kind, b"--a b\r\nX: y\r\n\r\nbyt")
    with pytest.raises(BadInput):
        only_part(kind, b"")


def test_an_object_that_is_not_the_one_asked_for_does_not_stop_the_study(home: Home, tmp_path: Path) -> None:
    pictures = Pictures(tmp_path / "p")
    spoilt = next(iter(pictures.files.values()))
    spoilt.write_bytes(b"<html>error page</html>")
    with service(pictures.answer) as url:
        report = fetch(home, connect(url), patient="*")
    assert report.added == 2
    with Catalogue(home.catalogue) as catalogue:
        assert [row.code for row in catalogue.quarantine()] == ["not-dicom"]
