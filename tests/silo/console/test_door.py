"""The console's door: links, passwords and sessions, and what a form must carry."""

import json
import re
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silo_node.cli import app as silo_node
from silo_node.console.guard import COOKIE
from silo_node.console.people import LINK_SECONDS, People
from silo_node.console.sessions import FAILURE_SECONDS, FAILURES, IDLE_SECONDS, LONGEST_SECONDS, Sessions
from silo_node.outbox.person import current_person
from silo_node.state import Home
from silo_node.wire.errors import BadInput
from tests.silo.console.browsing import PERSON, application, item, signed_in, token
from tests.silo.stand_in import StandIn

PASSWORD = "four random quiet words"


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
