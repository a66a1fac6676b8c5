"""Markers all over real objects of several makers, followed through everything a node does with a real hub.

Intake, reports, cohort, registration, evaluation and a training round; then every byte outside the private store and
every request to the hub is searched. What the node sends passes a forwarder that keeps it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from pydicom import dcmread

from silo_node.config import NodeConfig
from silo_node.deidentify.pixel_risk import RISKS
from silo_node.hub import Hub
from silo_node.identity import enrol, gate, load_identity
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition, DisclosureLimits, SplitSpec, TransformSpec
from silo_node.wire.canonical import message_digest
from silo_node.wire.studies import LocalTraining, StudyPlan
from tests.conftest import HubProcess
from tests.data import data_folder
from tests.silo.markers import MARKER, Markers, every_byte, plant
from tests.silo.peer import Exchange, Peer, peer
from tests.silo.preparations import classification
from tests.silo.sources import save, write_table
from tests.silo.test_agent_work import Clinic, token_of, wait_for, write_bundle
from tests.sites import Person

pytestmark = pytest.mark.slow

LABELLED = (
    "nih-ge/mr_0004/*.dcm",
    "nih-siemens/mr_000?/*.dcm",
    "udacity-study1/12-T1post/*.dcm",
    "udacity-study1/13_HCropVolume/*.dcm",
    "pydicom/MR_small.dcm",
    "nema-wg04/MR1_J2KI",
    "nema-wg04/MR1_RLE",
    "nema-wg04/MR1_JPLY",
    "pydicom/MR-SIEMENS-DICOM-WithOverlays.dcm",
)
"""70 MR images and more, each labelled by itself and planted as a patient of its own."""

OTHERS = (
    "dcmqi-seg-sr/0?.dcm",
    "dcmqi-seg-sr/liver.dcm",
    "pydicom/CT_small.dcm",
    "nema-wg04/US1_J2KR",
    "highdicom/dx_image.dcm",
    "highdicom/sr_document.dcm",
    "pydicom/test-SR.dcm",
    "pydicom/reportsi.dcm",
    "pydicom/rtplan.dcm",
)
"""A CT series with its segmentation, other modalities, and reports."""

_HOP_BY_HOP = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "keep-alive"}
POLICY = """\
minimum_cohort = 20
[benchmarks]
allow = ["marker_mr"]
[studies]
others = "auto"
[release]
registrations = "auto"
results = "auto"
updates = "auto"
[intake]
allow_pixel_risks = {risks}
"""


@dataclass(frozen=True)
class Followed:
    """A site after everything was run, what it sent, and what its commands printed."""

    home: Home
    sent: list[bytes]
    printed: str
    planted: int


def question() -> BenchmarkDefinition:
    limits = DisclosureLimits(minimum_class=5, minimum_cell=5, minimum_sites=1)
    steps = (TransformSpec(name="Resized", args={"spatial_size": [32, 32]}), TransformSpec(name="ScaleIntensityd"))
    changes = {"disclosure": limits, "auto_approve_models": True, "auto_approve_cohorts": True, "preparation": steps}
    split = SplitSpec(validation=0.2, test=0.4)
    return classification(name="marker_mr", modality="MR", shape=(32, 32), split=split).model_copy(update=changes)


def write_pacs(folder: Path) -> int:
    """Plant every sample and return how many markers there are."""
    samples, marker = data_folder("dicom-samples"), Markers()
    rows = []
    for pattern in (*LABELLED, *OTHERS):
        for number, source in enumerate(sorted(samples.glob(pattern))):
            dataset = dcmread(source)
            series = dataset.get("SeriesInstanceUID"), dataset.get("PatientID")
            plant(dataset, marker)
            if pattern.startswith("dcmqi"):
                dataset.SeriesInstanceUID, dataset.PatientID = series[0], "MRK99999"
            path = folder / f"{marker()}_Doe_John" / f"{marker()}.dcm"
            save(dataset, path)
            if pattern in LABELLED:
                name = path.relative_to(folder).as_posix()
                rows.append({"path": name, "label": number % 2, "note": marker()})
    (folder / f"{marker()}.txt").write_text(marker())
    write_table(folder / "labels.csv", rows)
    return marker.count


class Forwarder:
    """Hands every request on to the hub and the answer back, unchanged."""

    def __init__(self, hub: str) -> None:
        self._hub = hub

    def __call__(self, exchange: Exchange) -> None:
        asked = exchange.received
        headers = {name: value for name, value in asked.headers.items() if name.lower() not in _HOP_BY_HOP}
        answer = requests.request(
            asked.method, self._hub + asked.path, data=asked.body, headers=headers, timeout=60, stream=True
        )
        body = answer.raw.read(decode_content=False)
        exchange.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                exchange.send_header(name, value)
        exchange.send_header("Content-Length", str(len(body)))
        exchange.end_headers()
        exchange.wfile.write(body)


def sent_bytes(server: Peer) -> list[bytes]:
    """Return everything each request said: its line, its headers, its body."""
    return [
        "\n".join((one.method, one.path, *one.headers, *one.headers.values())).encode() + one.body
        for one in server.received
    ]


@pytest.fixture(scope="module")
def followed(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Followed]:
    folder, definition = tmp_path_factory.mktemp("markers"), question()
    planted, printed = write_pacs(folder / "pacs"), []
    Person(hub.url, token_of(hub, "benchmark-owner")).do("POST", "/benchmarks", definition.model_dump_json())
    home = Home(folder / "node").create()
    home.config_file.write_text('provenance = "simulated-sites"\n')
    home.policy_file.write_text(POLICY.format(risks=json.dumps(sorted(RISKS))))
    with peer(Forwarder(hub.url)) as server:
        join(home, server.url, Person(hub.url, hub.admin_token))

        def run(*arguments: str) -> dict[str, object]:
            called = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), *arguments, "--json"]
            done = subprocess.run(called, capture_output=True, text=True, timeout=120, env={**os.environ})
            assert done.returncode == 0, done.stderr
            printed.append(done.stdout + done.stderr)
            found: dict[str, object] = json.loads(done.stdout)
            return found

        taken = run("intake", "folder", str(folder / "pacs"), "--table", str(folder / "pacs/labels.csv"))
        assert int(str(taken["added"])) > 70
        built = run("cohort", "build", "marker_mr")
        run("cohort", "show", str(built["cohort_id"]))
        registered = run("cohort", "register", str(built["cohort_id"]))
        assert registered["association"] == "approved"
        run("privacy", "report")
        clinic = Clinic(home, hub.url, definition, Person(hub.url, token := token_of(hub, "researcher")), token)
        evaluate_and_train(clinic, folder)
        run("status")
        run("outbox", "list")
        yield Followed(home, sent_bytes(server), "\n".join(printed), planted)


def join(home: Home, url: str, admin: Person) -> None:
    code = admin.do("POST", "/silos", json.dumps({"name": "Marker", "organisation": "Marker hospital"}))["code"]
    stranger = Hub(url, gate(home), NodeConfig())
    enrolment = enrol(home, stranger, str(code))
    stranger.close()
    admin.do("POST", f"/silos/{enrolment.silo_id}/approve", json.dumps({"fingerprint": enrolment.fingerprint}))


def evaluate_and_train(clinic: Clinic, folder: Path) -> None:
    """Have the hub ask for an evaluation and a study of one round, and let the node answer both."""
    model = clinic.submit(write_bundle(folder / "model.zip", clinic.definition, 3))
    plan = StudyPlan.model_validate(
        {
            "name": "marker_study",
            "title": "A study",
            "benchmark": {"name": "marker_mr", "version": 1, "digest": message_digest(clinic.definition)},
            "model": model,
            "silos": (load_identity(clinic.home).silo_id,),
            "rounds": 1,
            "quorum": 1,
            "deadline_seconds": 120,
            "local": LocalTraining(batch_size=16),
        }
    )
    with clinic.node():
        wait_for(lambda: "answered" in clinic.evaluations())
        study = str(clinic.researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
        wait_for(lambda: clinic.consent(study) == "approved")
        clinic.researcher.do("POST", f"/studies/{study}/start")
        found = clinic.researcher.wait_for(study, "completed", "failed", seconds=180)
        assert found["state"] == "completed", clinic.log()


def test_the_whole_way_was_gone(followed: Followed) -> None:
    paths = b"\n".join(request.partition(b"\n")[2].partition(b"\n")[0] for request in followed.sent).decode()
    for part in ("/enrolments", "/silo/cohorts", "/tasks/claim", "/result", "/uploads", "/decision"):
        assert part in paths, f"nothing was sent to {part}"
    assert len(followed.sent) > 15
    assert followed.planted > 3000


def test_the_search_finds_what_the_private_store_keeps(followed: Followed) -> None:
    assert sum(bool(MARKER.search(data)) for _, data in every_byte(followed.home.private)) > 80


def test_no_marker_is_in_any_byte_outside_the_private_store(followed: Followed) -> None:
    outside = every_byte(followed.home.path, leave_out=followed.home.private)
    assert len(outside) > 90
    assert [path for path, data in outside if MARKER.search(data)] == []


def test_no_marker_is_in_the_arrays_models_are_given(followed: Followed) -> None:
    """The raw cases lie in the private store, and are as clean as what is made of them."""
    raw = every_byte(followed.home.raw)
    assert len(raw) > 200
    assert [path for path, data in raw if MARKER.search(data)] == []


def test_no_marker_is_in_any_request_to_the_hub(followed: Followed) -> None:
    assert [request[:80] for request in followed.sent if MARKER.search(request)] == []


def test_no_marker_was_printed(followed: Followed) -> None:
    assert not MARKER.search(followed.printed.encode())
