"""The console: who gets in, what a form must carry, what is told before anything leaves, and in whose name."""

import base64
import json
import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silo_node.agent.consents import agreed_plan
from silo_node.agent.health import Pulse
from silo_node.cli import app as silo_node
from silo_node.console.guard import COOKIE
from silo_node.console.people import LINK_SECONDS, People
from silo_node.console.rules import rules
from silo_node.console.sessions import FAILURE_SECONDS, FAILURES, IDLE_SECONDS, LONGEST_SECONDS, Sessions
from silo_node.console.words import departure, time_left
from silo_node.identity import load_identity
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.outbox.person import current_person
from silo_node.outbox.words import content
from silo_node.policy import Decision, Policy
from silo_node.state import Home
from silo_node.wire.errors import BadInput
from tests.silo.console import PERSON, application, signed_in, token
from tests.silo.furnished import furnish
from tests.silo.peer import peer
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
