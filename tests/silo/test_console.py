"""The console: who gets in, what a form must carry, what is told before anything leaves, and in whose name."""

import base64
import fcntl
import html
import io
import json
import re
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from typer.testing import CliRunner

from pipelines.privacy.accounting import Mechanism
from silo_node.agent.consents import agreed_plan
from silo_node.agent.health import Pulse
from silo_node.agent.tasks import TaskBook
from silo_node.benchmarks import kept_benchmarks
from silo_node.catalogue import Catalogue
from silo_node.cli import app as silo_node
from silo_node.cohorts.manifest import read_manifest
from silo_node.console.builds import LABELS_LIMIT, Build, last_build, save
from silo_node.console.guard import COOKIE
from silo_node.console.people import LINK_SECONDS, People
from silo_node.console.rules import rules
from silo_node.console.sessions import FAILURE_SECONDS, FAILURES, IDLE_SECONDS, LONGEST_SECONDS, Sessions
from silo_node.console.words import departure, time_left
from silo_node.identity import load_identity
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.outbox.person import current_person
from silo_node.outbox.words import content
from silo_node.policy import Decision, Policy
from silo_node.privacy.account import training_patients
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.state import Home
from silo_node.wire.envelope import seal
from silo_node.wire.errors import PROBLEMS, BadInput
from silo_node.wire.estimates import EstimateBlock, RefusedModel
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import EvaluationTask, Task
from tests.silo.console import PERSON, application, signed_in, token
from tests.silo.furnished import furnish
from tests.silo.peer import peer
from tests.silo.sources import write_table
from tests.silo.stand_in import StandIn

PASSWORD = "four random quiet words"


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, StandIn]:
    """A site that tests may read; those that decide something take an item of their own."""
    return furnish(tmp_path_factory.mktemp("site"))


@pytest.fixture
def home(furnished: tuple[Home, StandIn]) -> Home:
    return furnished[0]


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Home, StandIn]:
    return furnish(tmp_path)


def item(home: Home, kind: str) -> Item:
    journal = Journal(home)
    try:
        return next(found for found in Outbox(journal).items() if found.kind == kind)
    finally:
        journal.close()


# who gets in


@pytest.mark.parametrize("path", ["/", "/approvals", "/left", "/work/live", "/policy", "/no/such/page"])
def test_nobody_reads_a_page_who_is_not_signed_in(home: Home, path: str) -> None:
    """Also not whether a page exists."""
    answer = application(home)[0].get(path)
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith("/sign-in")
    assert "Little" not in answer.text


def test_a_page_under_another_name_is_refused(home: Home) -> None:
    """DNS rebinding: a page elsewhere lets its own name point at 127.0.0.1, and has the browser's cookies for it."""
    client = signed_in(home)
    assert client.get("/approvals", headers={"Host": "evil.example:8751"}).status_code == 403
    assert client.get("/approvals").status_code == 200


def test_a_link_lets_one_person_in_once(tmp_path: Path) -> None:
    """Looking at it spends nothing, so that a mail scanner cannot; its key is nowhere on disk."""
    client, console = application(Home(tmp_path).create())
    key = console.people.new_link("m.okafor")
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and key in path.read_text() + path.name]
    for _ in range(2):
        assert "Come in, m.okafor" in client.get(f"/sign-in?key={key}").text
    entered = client.post("/sign-in", data={"key": key, "next": "/approvals"})
    assert (entered.status_code, entered.headers["Location"]) == (303, "/approvals")
    cookie = entered.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    again = application(console.home)[0].post("/sign-in", data={"key": key})
    assert again.status_code == 403
    assert "used before" in again.text


def test_a_link_grows_old(tmp_path: Path) -> None:
    home = Home(tmp_path).create()
    key = People(home).new_link("m.okafor")
    later = People(home, now=lambda: time.time() + LINK_SECONDS + 5)
    assert later.use_link(key) is None
    assert People(home).owner(key) == "m.okafor"
    later.new_link("j.fischer")
    assert len(list(home.console.glob("link-*"))) == 1


@pytest.mark.parametrize("key", ["", "x", "../people.json", "a" * 43])
def test_what_is_no_link_lets_nobody_in(tmp_path: Path, key: str) -> None:
    assert People(Home(tmp_path).create()).use_link(key) is None


def test_a_password_is_kept_as_its_hash_and_asked_for(tmp_path: Path) -> None:
    """A wrong name and a wrong password get the same answer."""
    client, console = application(Home(tmp_path).create())
    console.people.set_password("m.okafor", PASSWORD)
    assert PASSWORD not in console.home.console_people.read_text()
    assert console.home.console_people.stat().st_mode & 0o777 == 0o600
    wrong = [
        client.post("/sign-in", data={"name": name, "password": word})
        for name, word in (("m.okafor", "wrong"), ("nobody", PASSWORD))
    ]
    assert [answer.status_code for answer in wrong] == [403, 403]
    assert wrong[0].text == wrong[1].text
    right = client.post("/sign-in", data={"name": "m.okafor", "password": PASSWORD})
    assert right.status_code == 303
    assert "m.okafor" in client.get("/").text


def test_guessing_passwords_is_slow(tmp_path: Path) -> None:
    client, console = application(Home(tmp_path).create())
    console.people.set_password("m.okafor", PASSWORD)
    for _ in range(FAILURES):
        client.post("/sign-in", data={"name": "m.okafor", "password": "guess"})
    assert client.post("/sign-in", data={"name": "m.okafor", "password": PASSWORD}).status_code == 429
    moment = [0.0]
    sessions = Sessions(now=lambda: moment[0])
    for _ in range(FAILURES):
        sessions.failed()
    assert not sessions.may_try()
    moment[0] = FAILURE_SECONDS + 1
    assert sessions.may_try()


@pytest.mark.parametrize("password", ["short", "m.okafor-1234567"])
def test_a_weak_password_is_not_taken(tmp_path: Path, password: str) -> None:
    with pytest.raises(BadInput, match="console-password-weak"):
        People(Home(tmp_path).create()).set_password("m.okafor", password)


def test_a_session_ends_by_itself() -> None:
    """After half an hour without a click, which a page that renews itself is not, and after a day's work anyhow."""
    moment = [0.0]
    sessions = Sessions(now=lambda: moment[0])
    key = sessions.begin("m.okafor")
    moment[0] = IDLE_SECONDS - 1
    assert sessions.find(key, by_itself=True)
    moment[0] = IDLE_SECONDS + 1
    assert sessions.find(key) is None
    key, start = sessions.begin("m.okafor"), moment[0]
    while moment[0] < start + LONGEST_SECONDS:
        assert sessions.find(key)
        moment[0] += IDLE_SECONDS / 2
    moment[0] += 1
    assert sessions.find(key) is None


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", None, ""])
def test_signing_in_leads_nowhere_else(tmp_path: Path, elsewhere: str | None) -> None:
    client, console = application(Home(tmp_path).create())
    key = console.people.new_link("m.okafor")
    answer = client.post("/sign-in", data={"key": key, **({"next": elsewhere} if elsewhere is not None else {})})
    assert answer.headers["Location"] == "/"


# what a form must carry


def test_a_form_of_another_site_or_session_changes_nothing(home: Home) -> None:
    """The browser's own words about the origin, and a token that only this session's pages hold."""
    client, waiting = signed_in(home), item(home, "estimate-block")
    path, right = f"/approvals/{waiting.item_id}/release", token(client)
    tries = [
        ({}, {}),
        ({"form_token": "guess"}, {}),
        ({"form_token": right}, {"Sec-Fetch-Site": "cross-site"}),
        ({"form_token": right}, {"Origin": "https://evil.example"}),
        ({"form_token": token(signed_in(home))}, {}),
    ]
    for form, headers in tries:
        assert client.post(path, data=form, headers=headers).status_code == 403
    assert client.get(path).status_code == 405
    assert item(home, "estimate-block").state == "held"


def test_every_page_carries_the_security_headers_and_is_not_kept(home: Home) -> None:
    """Scripts only from here, nothing inline, no frame; nobody's cache keeps what is shown."""
    client = signed_in(home)
    for path in ("/", "/sign-in", "/nothing"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"
    address = re.search(r'href="(/assets/[^"]+\.css)"', client.get("/").text)
    assert address is not None
    assert "immutable" in client.get(address.group(1)).headers["Cache-Control"]


def test_a_fault_tells_nothing(fresh: tuple[Home, StandIn]) -> None:
    """Neither a trace nor what was in the broken file."""
    home, _ = fresh
    client = signed_in(home)
    home.catalogue.unlink()
    home.catalogue.mkdir()
    answer = client.get("/cohorts")
    assert answer.status_code == 422
    assert "Traceback" not in answer.text
    assert "sqlite" not in answer.text


# what is told before anything leaves


def test_every_number_of_a_block_is_told_before_it_leaves(home: Home) -> None:
    """In words where they help, and to the byte: the signed content is on the page whole."""
    block = item(home, "estimate-block")
    page = signed_in(home).get(f"/approvals/{block.item_id}").text
    assert "0.912 (0.853 to 0.971)" in page
    assert "not told: too-few-cases" in page
    shown = re.search(r'<pre class="bytes"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert shown is not None
    assert json.loads(shown.group(1).replace("&#34;", '"').replace("&#39;", "'")) == content(block)


def test_a_study_is_told_whole_before_it_is_said_yes_to(home: Home) -> None:
    page = signed_in(home).get(f"/approvals/{item(home, 'association-decision').item_id}").text
    for said in ("Dr Ada Keller (Lakeside University)", "2 other sites", "28.4 MB", "2 epochs a round", "25 at most"):
        assert said in page


def test_an_update_is_told_with_its_file(home: Home) -> None:
    page = signed_in(home).get(f"/approvals/{item(home, 'round-report').item_id}").text
    assert "exactly the model&#39;s tensors and nothing else" in page
    assert "Round 4 of “Lungs together”" in page
    assert "16.5 kB" in page


def test_what_is_released_bears_the_name_of_who_released_it(fresh: tuple[Home, StandIn]) -> None:
    """It goes at once where no node runs, and arrives as it was shown."""
    home, hub = fresh
    client, block = signed_in(home), item(home, "estimate-block")
    with peer(hub) as server:
        home.config_file.write_text(f'provenance = "synthetic"\nhub_url = "{server.url}"\n')
        answer = client.post(f"/approvals/{block.item_id}/release", data={"form_token": token(client)})
    assert answer.status_code == 303
    (said,) = hub.heard("/result")
    assert said["payload"] == block.envelope.payload
    assert item(home, "estimate-block").released_by == PERSON
    assert f"Released by {PERSON}" in client.get(f"/approvals/{block.item_id}").text


def test_what_is_kept_here_does_not_leave(fresh: tuple[Home, StandIn]) -> None:
    """The hub hears a code; and a study's question gets a signed no."""
    home, hub = fresh
    client = signed_in(home)
    with peer(hub) as server:
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        for kind in ("estimate-block", "association-decision"):
            client.post(f"/approvals/{item(home, kind).item_id}/reject", data={"form_token": token(client)})
    assert hub.heard("/decline") == [{"code": "policy-refuses-release", "retry": False}]
    assert hub.heard("/result") == []
    assert content(item(home, "association-decision"))["approve"] is False
    late = client.post(f"/approvals/{item(home, 'estimate-block').item_id}/release", data={"form_token": token(client)})
    assert late.status_code == 409


def test_a_given_consent_is_ended_in_the_browser_and_no_round_runs_any_more(fresh: tuple[Home, StandIn]) -> None:
    """At once here, whatever the hub knows; signed, with the name of who ended it. There is nothing to end twice."""
    home, hub = fresh
    client, study = signed_in(home), "study-7h2j5k8m"
    identity = load_identity(home)

    def agreed() -> str | None:
        journal = Journal(home)
        try:
            return agreed_plan(journal, identity, study)
        finally:
            journal.close()

    assert client.post(f"/studies/{study}/end", data={"form_token": token(client)}).status_code == 409
    assert "End the consent" not in client.get("/studies").text
    with peer(hub) as server:
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        decision = item(home, "association-decision").item_id
        client.post(f"/approvals/{decision}/release", data={"form_token": token(client)})
        assert agreed() is not None
        assert "End the consent" in client.get("/studies").text
        assert client.post(f"/studies/{study}/end", data={"form_token": "x"}).status_code == 403
        assert agreed() is not None
        assert client.post(f"/studies/{study}/end", data={"form_token": token(client)}).status_code == 303
    assert agreed() is None
    ended = item(home, "association-decision")
    assert (content(ended)["approve"], ended.state, ended.released_by) == (False, "acknowledged", PERSON)
    assert [json.loads(base64.b64decode(said["payload"]))["approve"] for said in hub.heard("/decision")] == [
        True,
        False,
    ]
    page = client.get("/studies").text
    assert "The consent is ended" in page
    assert "End the consent" not in page
    assert client.post("/studies/study-nothere1/end", data={"form_token": token(client)}).status_code == 404


# building a cohort


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


# when the hub is away


def test_a_hub_that_is_away_is_no_error(fresh: tuple[Home, StandIn]) -> None:
    home, _ = fresh
    home.config_file.write_text('hub_url = "http://127.0.0.1:9"\n')
    client, block = signed_in(home), item(home, "estimate-block")
    client.post(f"/approvals/{block.item_id}/release", data={"form_token": token(client)})
    assert "the node sends the answer later" in client.get("/approvals").text


def test_two_persons_release_where_the_site_wants_it(fresh: tuple[Home, StandIn]) -> None:
    """The first one's yes is shown to the second, and nobody is two persons."""
    home, hub = fresh
    journal, block = Journal(home), item(home, "estimate-block")
    hold = Decision("hold", None, "release.results", persons=2)
    waiting = Outbox(journal).add(block.kind, block.subject, block.envelope, hold)
    journal.close()
    client, console = application(home)
    with peer(hub) as server:
        home.config_file.write_text(f'hub_url = "{server.url}"\n')
        for person, status in (("m.okafor", 303), ("m.okafor", 403), ("j.fischer", 303)):
            client.set_cookie(COOKIE, console.sessions.begin(person))
            page = client.get(f"/approvals/{waiting.item_id}").text
            assert "Two different persons must release it" in page
            answer = client.post(f"/approvals/{waiting.item_id}/release", data={"form_token": token(client)})
            assert answer.status_code == status, person
            assert status == 303 or "same-person" in answer.text
    assert "m.okafor has released it already" in page
    assert item(home, "estimate-block").released_by == "m.okafor, j.fischer"
    assert len(hub.heard("/result")) == 1


# what else is shown


def test_a_broken_log_is_shown_as_broken(fresh: tuple[Home, StandIn]) -> None:
    home, _ = fresh
    home.egress_log.write_text(home.egress_log.read_text().replace('"size":1210', '"size":1211'))
    page = signed_in(home).get("/left").text
    assert "The egress log&#39;s chain is broken" in page
    assert "holds" not in page


def test_the_log_tells_every_body_with_its_digest(home: Home) -> None:
    page = signed_in(home).get("/left?show=all").text
    assert "asked for work" in page
    assert "registered a cohort: fingerprint and card" in page
    assert page.count('<td class="digest"') == 9


def test_every_rule_of_the_policy_has_a_sentence() -> None:
    """So that nobody has to read TOML to know what this site refuses."""
    assert [rule.name for rule in rules(Policy()) if not rule.sentence] == []


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ClaimRequest", "asked for work"),
        ("Envelope[application/vnd.medsilo.estimate-block+json]", "sent the results of an evaluation"),
        ("Envelope[application/vnd.medsilo.new-thing+json]", "new-thing"),
    ],
)
def test_what_left_is_told_in_words(kind: str, words: str) -> None:
    assert departure(kind) == words


def test_why_a_task_is_done_or_refused_is_told_for_each_model(fresh: tuple[Home, StandIn]) -> None:
    """By the policy as it stands now, and by the code in this site's answer; the same as the command says."""
    home, hub = fresh
    written = home.policy_file.read_text().replace("minimum_cohort = 20", "minimum_cohort = 10")
    home.policy_file.write_text(written + '\n[requesters]\norganisations = ["Lakeside"]\n')
    block, journal = item(home, "estimate-block"), Journal(home)
    told = EstimateBlock.model_validate_json(block.envelope.payload_bytes())
    third = "blake3:" + "d" * 64
    asked = EvaluationTask(
        evaluation_id=told.evaluation_id,
        benchmark=told.benchmark,
        cohort=told.cohort,
        models=tuple(ModelReference(digest=digest, size=10) for digest in (*told.models[:2], third)),
        owners=("Lakeside", "Hillside", "Lakeside"),
        attempt=1,
    )
    task = Task(task_id="task-00000009", silo_id=told.silo_id, issued=told.started, body=asked)
    TaskBook(journal).claim(task.task_id, asked.kind, seal(task, hub.key))
    refused = (RefusedModel(model=third, code="policy-model-tier"),)
    answer = told.model_copy(update={"task_id": task.task_id, "refused": refused})
    held = Outbox(journal).add(
        block.kind, task.task_id, seal(answer, load_identity(home).key), Decision("hold", None, "release.results")
    )
    journal.close()
    client = signed_in(home)
    assert '<a href="/work/task-00000009">' in client.get("/work").text
    page = html.unescape(client.get("/work/task-00000009").text)
    assert "Yes: rule benchmarks.allow decided." in page
    assert "of Hillside: No [policy-requester]: rule requesters.organisations decided." in page
    assert "In this site's answer it was refused" in page
    assert "Models this site says no to" in client.get(f"/approvals/{held.item_id}").text
    called = ["--home", str(home.path), "policy", "explain", task.task_id, "--json"]
    said = json.loads(CliRunner().invoke(silo_node, called).stdout)
    assert [(model["code"], model["answered"]) for model in said["models"]] == [
        (None, None),
        ("policy-requester", None),
        (None, "policy-model-tier"),
    ]
    assert client.get("/work/task-99999999").status_code == 404
    assert client.get("/work/task-00000002").status_code == 200


def test_the_time_left_is_judged_by_the_time_so_far() -> None:
    assert time_left(30, 60, 600.0) == "about 10 min left"
    assert time_left(0, 60, 600.0) == ""
    assert time_left(59, 60, 60.0) == "a few seconds left"


def test_the_first_page_says_whether_the_node_runs(fresh: tuple[Home, StandIn]) -> None:
    """By what the node itself said within the last minute."""
    home, _ = fresh
    client = signed_in(home)
    assert "The node is not running" in client.get("/home/live").text
    pulse = Pulse(home)
    pulse.reached()
    pulse.beat(("task-00000003",))
    assert "The node runs and is at work." in client.get("/home/live").text
    pulse.trouble("hub-gone", "hub-unreachable")
    pulse.beat(())
    assert "the hub cannot be reached" in client.get("/home/live").text
    pulse.end("stopped")
    assert "The node is not running" in client.get("/home/live").text


def test_a_site_that_has_nothing_yet_is_told_how_to_begin(tmp_path: Path) -> None:
    """Every page stands before the node is enrolled, and the first one says what comes next."""
    client = signed_in(Home(tmp_path).create())
    for path in ("/", "/approvals", "/work", "/cohorts", "/studies", "/left", "/policy", "/health"):
        assert client.get(path).status_code == 200, path
    assert "silo-node enrol --hub" in client.get("/").text
    assert "There is no policy file yet" in client.get("/policy").text


def test_the_command_makes_links_and_passwords(tmp_path: Path) -> None:
    """For a console that runs already, and for nobody but whoever runs the command."""

    def run(*arguments: str, typed: str = "") -> dict[str, str]:
        called = ["--home", str(tmp_path), "console", *arguments, "--json"]
        result = CliRunner().invoke(silo_node, called, input=typed)
        assert result.exit_code == 0, result.output
        found: dict[str, str] = json.loads(result.stdout)
        return found

    me = current_person()
    link = run("--link")["link"]
    assert People(Home(tmp_path)).use_link(link.partition("key=")[2]) == me
    run("--set-password", typed=f"{PASSWORD}\n{PASSWORD}\n")
    assert People(Home(tmp_path)).knows(me, PASSWORD)
    run("--drop-password", me)
    assert not People(Home(tmp_path)).knows(me, PASSWORD)


def test_signing_out_ends_the_session_and_not_just_the_cookie(home: Home) -> None:
    client, console = application(home)
    key = console.sessions.begin(PERSON)
    client.set_cookie(COOKIE, key)
    client.post("/sign-out", data={"form_token": token(client)})
    client.set_cookie(COOKIE, key)
    assert client.get("/").status_code == 303
