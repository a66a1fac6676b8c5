"""A cohort built in the console."""

import fcntl
import html
import io
from datetime import UTC, datetime

import numpy as np
import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner

from pipelines.privacy.accounting import Mechanism
from silo_node.benchmarks import kept_benchmarks
from silo_node.catalogue import Catalogue
from silo_node.cli import app as silo_node
from silo_node.cohorts.manifest import read_manifest
from silo_node.console.builds import LABELS_LIMIT, Build, last_build, save
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.journal import Journal
from silo_node.privacy.account import training_patients
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.state import Home
from silo_node.wire.errors import PROBLEMS
from tests.silo.console.browsing import PERSON, signed_in, token
from tests.silo.peer import peer
from tests.silo.sources import write_table
from tests.silo.stand_in import StandIn


def asked(home: Home, client: FlaskClient, **more: object) -> dict[str, object]:
    """Return the form's fields for the little X-rays."""
    digest = next(digest for digest, kept in kept_benchmarks(home) if kept.name == "little_xray")
    return {"form_token": token(client), "definition": digest, "collection": "little_xray", **more}


def ended(home: Home) -> Build:
    """Wait for a build's process and return what came of it."""
    with home.console_build_lock.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
    found = last_build(home)
    assert found is not None
    return found


def labels(cases: int, **more: str) -> dict[str, object]:
    """Return a table of labels as a browser sends it."""
    rows = {**{f"P{index:06d}": ("normal", "pneumonia")[index % 2] for index in range(cases)}, **more}
    text = "patient,label\n" + "".join(f"{patient},{label}\n" for patient, label in rows.items())
    return {"labels": (io.BytesIO(text.encode()), "findings.csv")}


def test_a_cohort_is_built_in_the_browser_and_registered_through_the_outbox(fresh: tuple[Home, StandIn]) -> None:
    """From a collection, a table of labels and a query: the page tells what was left out and why, and the quality."""
    home, hub = fresh
    folder = home.path.parent / "ct"
    folder.mkdir()
    np.savez(folder / "ct.npz", images=np.arange(243, dtype=np.uint8).reshape(3, 9, 9))
    table = write_table(
        folder / "table.csv", [{"path": f"ct.npz#{index}", "label": 1, "patient": f"CT{index}"} for index in range(3)]
    )
    take_in(home, TableSource(table, folder, collection="little_xray", modality="CT"), IntakeRules("little_xray"))
    client = signed_in(home)
    page = client.get("/cohorts/new").text
    assert "Little X-rays (little_xray 1)" in page
    assert "little_xray (63 cases)" in page
    fields = asked(home, client, **labels(60), **{"one_case_a_patient": "yes", "voxels.minimum": "8"})
    sent = client.post("/cohorts/new", data=fields)
    assert (sent.status_code, sent.headers["Location"]) == (303, "/cohorts/build"), sent.text
    build = ended(home)
    assert (build.state, build.code, build.person) == ("built", None, PERSON), build.detail
    assert build.query.document() == {"voxels": {"minimum": 8.0}, "one_case_a_patient": True}
    assert not home.console_labels.exists()
    for path in ("/cohorts/build", "/cohorts/build/live", f"/cohorts/{build.cohort_id}"):
        page = client.get(path).text
        assert "Of another modality" in page, path
        assert 'data-label="Left out">3<' in page, path
        assert "“pneumonia”" in page, path
    # It is the cohort that the furnished site has registered already, so registering is tried on the other one.
    bones = next(digest for digest, kept in kept_benchmarks(home) if kept.name == "bone_xray")
    client.post("/cohorts/new", data=asked(home, client, definition=bones, collection="bone_xray"))
    other = ended(home).cohort_id
    with peer(hub) as server:
        home.config_file.write_text(f'provenance = "synthetic"\nhub_url = "{server.url}"\n')
        held = client.post(f"/cohorts/{other}/register", data={"form_token": token(client)})
    assert held.headers["Location"].startswith("/approvals/")
    assert "Register the cohort" in client.get(held.headers["Location"]).text


def test_a_cohorts_page_tells_what_its_patients_privacy_has_cost_as_the_command_does(home: Home) -> None:
    """Spent, promised and left before anybody says yes, through whichever cohort."""
    with Catalogue(home.catalogue) as catalogue:
        bones = next(row.cohort_id for row in catalogue.cohorts() if row.benchmark == "bone_xray")
    patients = training_patients(read_manifest(home.cohort(bones)))
    client = signed_in(home)
    page = client.get(f"/cohorts/{bones}").text
    assert "Nothing was told through this cohort yet." in page
    journal = Journal(home)
    ledger = PrivacyLedger(journal)
    ledger.book(bones, "train", patients, "round", "study-quiet", Mechanism("gaussian", 2.0, 0.2, 5))
    ledger.book(bones, "test", frozenset({"f" * 16}), "evaluation", "eval-open", Mechanism("none"))
    ledger.book("coh-earlier", "train", patients, "round", "study-other", Mechanism("gaussian", 2.0, 0.2, 5))
    spent = ledger.spent(patients).epsilon(1e-5)
    journal.close()
    before = home.policy_file.read_text()
    home.policy_file.write_text(before + "\n[budget]\nepsilon = 8.0\n")
    page = html.unescape(client.get(f"/cohorts/{bones}").text)
    told = CliRunner().invoke(silo_node, ["--home", str(home.path), "privacy", "ledger", "--cohort", bones]).stdout
    home.policy_file.write_text(before)
    assert "a budget of 8, at delta 1e-05" in page
    for shown in (f"{spent:.3g}", f"{8 - spent:.3g}"):
        assert f">{shown}</td>" in page
        assert shown in told
    for words in ("5 noisy steps, noise multiplier 2, each patient in 20.0% of them", "without noise", "study-quiet"):
        assert words in page
        assert words in told
    assert "study-other" not in page


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ({"definition": "blake3:" + "0" * 64}, "benchmark-unknown", "choose a benchmark"),
        ({"collection": "elsewhere"}, "query-invalid", "nothing was taken in under the name elsewhere"),
        ({"include.sex": "green"}, "query-invalid", "a value of sex is one of"),
        ({"spacing_mm.maximum": "wide"}, "query-invalid", "spacing_mm.maximum is a number"),
    ],
)
def test_a_form_that_cannot_be_meant_comes_back_with_what_is_wrong(
    home: Home, more: dict[str, str], code: str, words: str
) -> None:
    """In words, with its code, and with what had been filled in; nothing is started."""
    client = signed_in(home)
    fields = asked(home, client, **{"voxels.minimum": "17", **more})
    answer = client.post("/cohorts/new", data=fields)
    assert answer.status_code == PROBLEMS[code].status
    assert code in answer.text
    assert words in answer.text
    assert 'value="17"' in answer.text
    assert last_build(home) is None


def test_a_build_that_fails_is_told_with_its_code_and_leaves_nothing(fresh: tuple[Home, StandIn]) -> None:
    """Also a benchmark that the hub is asked for and has not published."""
    home, _ = fresh
    client, before = signed_in(home), cohort_folders(home)
    faults: tuple[tuple[dict[str, object], str, str], ...] = (
        ({"exclude.sex": "f", "include.sex": "f"}, "cohort-too-small", "0 cases fit the benchmark"),
        ({"benchmark": "nobodys_question"}, "benchmark-unknown", "the hub has published no nobodys_question"),
        (labels(60, P000099="normal"), "label-without-case", "row 62"),
    )
    with peer(lambda exchange: exchange.say(b'{"benchmarks":[]}')) as server:
        home.config_file.write_text(f'provenance = "synthetic"\nhub_url = "{server.url}"\n')
        for more, code, words in faults:
            client.post("/cohorts/new", data=asked(home, client, **more))
            assert ended(home).state == "refused"
            page = html.unescape(client.get("/cohorts/build").text)
            assert [said for said in (PROBLEMS[code].title, code, words) if said not in page] == []
            assert cohort_folders(home) == before
            assert not home.console_labels.exists()


def cohort_folders(home: Home) -> set[str]:
    """Return what lies in the cohorts' folder."""
    return {path.name for path in home.cohorts.iterdir()}


def test_a_build_shows_how_far_it_is_and_one_runs_at_a_time(fresh: tuple[Home, StandIn]) -> None:
    """Whether it still runs is not what it wrote last, but whether its process lives."""
    home, _ = fresh
    client = signed_in(home)
    home.console.mkdir(exist_ok=True)
    running = Build(person=PERSON, started=datetime.now(UTC), benchmark="little_xray", done=12, total=60)
    with home.console_build_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        save(home, running)
        assert "12 of 60" in client.get("/cohorts/build").text
        assert '<progress value="12" max="60"' in client.get("/cohorts/build/live").text
        assert "A cohort is being built: look" in client.get("/cohorts").text
        refused = client.post("/cohorts/new", data=asked(home, client))
        assert refused.status_code == 409
        assert "a cohort is being built from the console already" in refused.text
    page = client.get("/cohorts/build").text
    assert "No cohort was built" in page
    assert "its process has ended" in page


def test_the_form_for_a_cohort_is_guarded_like_the_others(home: Home) -> None:
    """Also where a file comes with it; and a large file is taken from nobody but a signed-in person."""
    client = signed_in(home)
    for form_token in ("", "guess"):
        fields = {**asked(home, client, **labels(3)), "form_token": form_token}
        assert client.post("/cohorts/new", data=fields).status_code == 403
    for extra, status, words in ((1, 413, "larger than 8 MB"), (200_000, 413, "body-too-large")):
        # Written by hand: the test client would put so large a body into a file of its own and forget it.
        table = b"x" * (LABELS_LIMIT + extra)
        body = b"".join(
            b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % part
            for part in (
                (b"form_token", b"", token(client).encode()),
                (b"labels", b'; filename="findings.csv"', table),
            )
        )
        answer = client.post(
            "/cohorts/new", data=body + b"--edge--\r\n", content_type="multipart/form-data; boundary=edge"
        )
        assert (answer.status_code, words in answer.text) == (status, True)
    assert last_build(home) is None
