"""The whole loop, as ``make demo`` runs it: a hub and three hospitals in processes of their own."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pydicom
import pytest
from playwright.sync_api import Browser, expect

from silo_node.outbox.egress_log import EgressLog
from tests.browser.reading import TWO_WAYS, look_at, reading
from tests.end_to_end.demonstration import (
    Demonstrated,
    Standing,
    check_sense,
    command,
    environment,
    federated,
    log_tails,
    processes_of,
    standing,
)
from tests.end_to_end.walk import walk
from tests.proxy import Proxy, recording_proxy
from tests.seen import silo_bodies, statements_in, undeclared, unseen

pytestmark = pytest.mark.slow
_PRINTABLE = re.compile(rb"[ -~]{6,}")
"""Wherever a name or an id could stand; most of an image's bytes are none of it."""


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """The hospitals' proxy, which keeps everything that goes through it."""
    with recording_proxy() as running:
        yield running


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory, proxy: Proxy) -> Iterator[Standing]:
    """One demonstration on generated phantoms, behind the proxy; it stays up for those who walk in it."""
    # The demonstration exempts this machine in capitals; the variable in small letters comes before that.
    through = {"HTTP_PROXY": proxy.url, "http_proxy": proxy.url, "no_proxy": "nowhere.invalid"}
    with standing(tmp_path_factory.mktemp("demo") / "home", **through) as running:
        yield running


@pytest.fixture(scope="module")
def ended(phantom: Standing) -> Demonstrated:
    """The same after its end; every test that needs it up stands above those that need this."""
    return phantom.stop()


def test_four_models_are_ranked_with_intervals_over_three_sites(phantom: Standing) -> None:
    check_sense(phantom.report)
    assert phantom.report["dataset"] == "chest_phantom"
    assert phantom.report["provenance"] == "synthetic"


def test_federated_training_made_the_model_it_started_from_better(phantom: Standing) -> None:
    """An untrained classifier is near 0.5; the phantoms' finding can be learned."""
    assert federated(phantom.report)["estimate"] > 0.8
    assert phantom.report["study"]["metric_per_round"][-1] > 0.75


@pytest.mark.browser
def test_the_pages_of_a_real_federation_are_whole_and_accessible(phantom: Standing, browser: Browser) -> None:
    """A reader's way over what real nodes have sent: the board, a comparison, the hospitals, the study, a receipt."""
    board, study = phantom.report["url"], phantom.report["study"]
    with reading(browser) as page:
        page.goto(f"{board}/sites")
        expect(page.locator(".matrix td.state-released")).to_have_count(12)
        evaluation = page.locator(".matrix td.state-released a").first.get_attribute("href")
        shown = [board, f"{board}/1", f"{board}/sites", f"{board}/compare", f"{phantom.url}{evaluation}"]
        shown += [f"{phantom.url}/models/{study['model']}", f"{phantom.url}/studies/{study['study_id']}"]
        found = {address: look_at(page, address, TWO_WAYS) for address in shown}
        assert found == {address: [] for address in found}
        page.goto(board)
        expect(page.locator(".board tbody tr:not(.tie-note)")).to_have_count(4)
        page.goto(shown[-1])
        expect(page.locator(".curve")).to_be_visible()


@pytest.mark.browser
def test_every_persona_gets_from_start_to_end(phantom: Standing, browser: Browser, tmp_path: Path) -> None:
    """Admin, benchmark owner, researcher, data steward and reader over hospitals whose nodes evaluate in their jails.

    The numbers the researcher and the reader see are those the steward read at the hospital before she let them go.
    """
    walk(phantom, browser, tmp_path)
    with urlopen(f"{phantom.url}/metrics", timeout=60) as metrics:
        assert b"medsilo_csp_reports_total 0.0" in metrics.read().splitlines()


def test_no_process_is_left(ended: Demonstrated) -> None:
    assert processes_of(ended.home) == []


def test_every_silos_egress_log_verifies(ended: Demonstrated) -> None:
    for number in (1, 2, 3):
        lines, _ = EgressLog(ended.home / f"silo-{number}" / "logs" / "egress.jsonl").verify()
        assert lines > 10


def test_no_bytes_left_a_hospital_unseen(ended: Demonstrated, proxy: Proxy) -> None:
    """Every request body that the proxy saw of a silo is in an egress log, byte for byte, and a declared message."""
    logs = ended.home.glob("silo-*/logs/egress.jsonl")
    departures = [entry.departure for log in logs for entry in EgressLog(log).entries()]
    bodies = silo_bodies(proxy)
    assert {"EstimateBlock", "RoundReport", "CohortRegistration"} <= statements_in(bodies)
    assert any(one.method == "PATCH" for one in bodies), "a model update went through"
    assert unseen(bodies, departures) == []
    assert undeclared(bodies, departures) == []


def test_no_patient_of_the_folders_is_found_anywhere_after_intake(ended: Demonstrated) -> None:
    """Names and ids of the DICOM headers are in the hospitals' own folders and in no file that was made from them."""
    planted = _planted(ended.home / "materials" / "sites")
    assert len(planted) > 100
    assert all(re.fullmatch(r"[ -~]{6,}", value) for value in planted)
    home = ended.home
    places = [home / "hub", home / "logs", *home.glob("silo-*/logs"), *home.glob("silo-*/cohorts")]
    places += [*home.glob("silo-*/outbox"), *home.glob("silo-*/scores"), *home.glob("silo-*/private/raw")]
    looked_at = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert len(looked_at) > 300
    for path in looked_at:
        text = b"\n".join(_PRINTABLE.findall(path.read_bytes()))
        found = [value for value in planted if value.encode() in text]
        assert not found, f"{path.relative_to(home)} holds {found[0]}"
    assert not [value for value in planted if value in ended.messages]


def test_interrupting_stops_every_process(tmp_path: Path) -> None:
    home = tmp_path / "home"
    process = subprocess.Popen(
        command(home, "--exit", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    deadline = time.monotonic() + 120
    while len(list((home / "logs").glob("silo-*.log"))) < 3:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline, log_tails(home)
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=180)
    assert process.returncode == 130
    assert printed == ""
    assert processes_of(home) == []


def test_a_missing_data_set_is_told_before_anything_starts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    called = command(home, "--exit", "--dataset", "pneumonia_xray", "--data", str(tmp_path / "nothing"))
    done = subprocess.run(called, capture_output=True, text=True, timeout=60, env=environment())
    assert done.returncode == 1
    assert "[data-missing]" in done.stderr
    assert done.stdout == ""
    assert not home.exists()


def _planted(folder: Path) -> set[str]:
    """Return the patients' names and ids in the headers of the generated studies."""
    found: set[str] = set()
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".csv":
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            found |= {str(header.get(name, "")) for name in ("PatientName", "PatientID")}
    return {value for value in found if len(value) >= 6}
