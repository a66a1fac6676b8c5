"""What people and programs should not send, in every text field there is: refused by code, never echoed, never run."""

import json
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from federation_hub.cli.reference import whole_document
from silo_node.wire.versions import CURRENT, HEADER
from tests.contract.walking import Walk, walk
from tests.hub.browsing import Visitor

MARK = "Doe^Jane"
HOSTILE = (
    f"{MARK}'; DROP TABLE person; --",
    f'{MARK}" OR "1"="1',
    f"<script>alert('{MARK}')</script>",
    f"{{{{ 7 * 7 }}}}{{% raw %}}${{7*7}} {MARK}",
    f"{MARK}\x00\r\nSet-Cookie: a=b",
    f"../../../etc/passwd {MARK}",
)
WRONG_TYPES: tuple[Any, ...] = (None, 7, -1.5, True, [], {}, [[[[]]]], {"a": {"b": MARK}}, "x" * 100_000 + MARK)
DOCUMENT = whole_document()
WITH_BODY = sorted(
    (method, path, operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1])
    for path, found in DOCUMENT["paths"].items()
    for method, operation in found.items()
    if "application/json" in operation.get("requestBody", {}).get("content", {})
)


@pytest.fixture(scope="module")
def walking(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A filled hub with people and silos."""
    home = tmp_path_factory.mktemp("hostile") / "hub"
    shutil.copytree(showcase_home, home)
    yield from walk(home, requests_per_minute=10**6, anonymous_requests_per_minute=10**6)


def ask(walking: Walk, method: str, path: str, body: bytes) -> list[TestResponse]:
    """Send a body to a route as those who might be let in."""
    address = walking.path(path.replace("{", "<").replace("}", ">"))
    found = []
    for name in ("hub-admin", "stranger", "silo"):
        headers = {"Authorization": f"Bearer {walking.callers[name].token}", HEADER: str(CURRENT)}
        client = walking.app.test_client()
        found.append(client.open(address, method=method.upper(), data=body, headers=headers, buffered=True))
    return found


def filled(name: str, value: Any) -> dict[str, Any]:
    """Return a message with this value in each of its fields, and in each field of what lies inside."""
    fields = DOCUMENT["components"]["schemas"][name].get("properties", {})
    return {field: _inner(schema, value) for field, schema in fields.items()}


def _inner(schema: dict[str, Any], value: Any) -> Any:
    if "$ref" in schema:
        inner = schema["$ref"].rsplit("/", 1)[1]
        return filled(inner, value) if DOCUMENT["components"]["schemas"][inner].get("properties") else value
    return [_inner(schema["items"], value)] if schema.get("type") == "array" and "items" in schema else value


def says_nothing(name: str, body: bytes) -> bool:
    """Return whether a body only says of every field that it is absent, where the message lets all of them be."""
    fields = DOCUMENT["components"]["schemas"][name].get("properties", {})
    absent = bool(fields) and all(schema.get("default", MARK) is None for schema in fields.values())
    return absent and body == json.dumps(filled(name, None)).encode()


@pytest.mark.parametrize(("method", "path", "message"), WITH_BODY, ids=[f"{m} {p}" for m, p, _ in WITH_BODY])
def test_a_hostile_body_never_breaks_anything_and_is_never_echoed_by_a_refusal(
    walking: Walk, method: str, path: str, message: str
) -> None:
    """SQL, HTML, templates, control characters and wrong types in every field; unknown fields; no JSON at all."""
    bodies = [json.dumps(filled(message, value)).encode() for value in (*HOSTILE, *WRONG_TYPES)]
    bodies += [json.dumps({MARK: MARK}).encode(), MARK.encode(), b"\xff\xfe", b"[" * 5000, b'{"a": NaN}', b""]
    for body in bodies:
        for answer in ask(walking, method, path, body):
            assert answer.status_code < 500, body[:80]
            if answer.status_code == 201 or says_nothing(message, body):
                # A name is one line of text and may be this one; that it stays text is shown below. And where every
                # field may be absent, a body that says so of all is as good as none.
                continue
            assert answer.status_code >= 400, body[:80]
            assert answer.mimetype == "application/problem+json"
            assert MARK not in answer.text
            assert "patient" not in answer.text


def test_a_body_without_end_is_not_read(walking: Walk) -> None:
    """Strangers send little, people with a token what the settings allow."""
    client = walking.app.test_client()
    huge = b'{"code": "' + b"x" * 70_000 + b'"}'
    assert client.post("/api/v1/enrolments", data=huge).status_code == 413
    assert client.post("/api/v1/oauth/token", data={"client_id": "x" * 70_000}).status_code in (400, 413)
    form = {"name": "x" * 70_000, "password": "x", "next": ""}
    headers = {"Sec-Fetch-Site": "same-origin"}
    assert client.post("/sign-in", data=form, headers=headers).status_code == 413


@pytest.mark.parametrize("text", [*HOSTILE[:4], "'", "%", "\\", "𝕏" * 30, "‮evil"])
def test_text_that_is_taken_stays_text_on_every_page(walking: Walk, text: str) -> None:
    """A name may hold anything one line of text can; no page runs it, and no query means something else by it."""
    admin = {"Authorization": f"Bearer {walking.callers['hub-admin'].token}"}
    client = walking.app.test_client()
    made = client.post("/api/v1/organisations", json={"name": text}, headers=admin)
    assert made.status_code in (201, 409), made.text
    listed = client.get("/api/v1/organisations", headers=admin).get_json()["organisations"]
    assert text in [row["name"] for row in listed]
    browser = Visitor(walking.app.test_client())
    browser.http.set_cookie("medsilo-session", walking.callers["hub-admin"].cookie or "")
    page = browser.get("/admin/people").text
    assert "<script>" not in page
    assert "49" not in page.split('<h2 id="places">')[1].split("</dl>")[0]


QUERY = (
    *(
        "actor",
        "action",
        "subject",
        "since",
        "until",
        "cursor",
        "limit",
        "next",
        "code",
        "q",
        "kind",
        "sort",
        "columns",
    ),
    *("page", "version", "a", "b", "state", "digest", "benchmark", "metric", "site", "whatever"),
)


@pytest.mark.parametrize("value", [HOSTILE[0], HOSTILE[2], HOSTILE[4], "-1", "9" * 30, "\u0661", "[]", ""])
def test_nonsense_in_a_query_string_is_refused_or_ignored(walking: Walk, value: str) -> None:
    """On every page and every route that is read, and it never comes back as anything but text."""
    token = {"Authorization": f"Bearer {walking.callers['hub-admin'].token}", HEADER: str(CURRENT)}
    browser = Visitor(walking.app.test_client())
    asked = dict.fromkeys(QUERY, value)
    for rule in (rule for method, rule in walking.rules() if method == "GET" and "<table>" not in rule):
        browser.http.set_cookie("medsilo-session", walking.callers["hub-admin"].cookie or "")
        path = walking.path(rule)
        if path.startswith("/api/"):
            answer = walking.app.test_client().get(path, query_string=asked, headers=token, buffered=True)
        else:
            answer = browser.get(path, query_string=asked)
        assert answer.status_code < 500, path
        if answer.mimetype == "text/html":
            assert f"<script>alert('{MARK}" not in answer.text, path
        assert "Set-Cookie: a=b" not in str(answer.headers), path


class Forms(HTMLParser):
    """The forms of a page that are posted: their addresses, with the names of their fields and what stands in them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self._inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._inside = given.get("method") == "post"
            if self._inside:
                self.found.append((given.get("action") or "", {}))
        elif self._inside and given.get("name"):
            self.found[-1][1][str(given["name"])] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = self._inside and tag != "form"


def test_a_hostile_text_in_any_field_of_any_form_breaks_nothing(walking: Walk) -> None:
    """Every form behind the door, each of its fields in turn: no fault, no markup of theirs, no query of theirs."""
    browser = Visitor(walking.app.test_client())
    browser.http.set_cookie("medsilo-session", walking.callers["hub-admin"].cookie or "")
    pages = [rule for method, rule in walking.rules() if method == "GET" and "<table>" not in rule]
    forms = {action: fields for rule in pages for action, fields in Forms(browser.get(walking.path(rule)).text).found}
    ending = {"/sign-out", "/account/sign-out-everywhere", "/account/password"}
    tried = 0
    for action, fields in forms.items():
        for field, value in product(fields, HOSTILE if action not in ending else ()):
            answer = browser.send(action, {**fields, field: value})
            assert answer.status_code < 500, (action, field)
            assert f"<script>alert('{MARK}" not in answer.text
            assert "Set-Cookie: a=b" not in str(answer.headers)
            tried += 1
    assert len(forms) > 15
    assert tried > 60
