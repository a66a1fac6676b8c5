"""Whatever text people may write: on every page, in every file and picture it stays text, in no query does it act.

The fields are read from the OpenAPI document, so that a new one is missed here and not by a reader.
"""

import csv
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.tables import Organisation, Person, Token
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.cli.reference import whole_document
from federation_hub.evaluations.tables import EstimateBlockRow
from federation_hub.models.tables import Model
from federation_hub.services import EXTENSION
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.models import ModelCard
from silo_node.wire.studies import StudyPlan
from tests.contract.walking import Walk, walk
from tests.hub.browsing import Visitor
from tests.hub.federation import Caller, Federation

DOCUMENT = whole_document()
FREE_TEXT = {
    "post /benchmarks approve_cohorts_of[]",
    "post /benchmarks approve_models_of[]",
    "post /benchmarks data_source",
    "post /benchmarks licence",
    "post /benchmarks phases[].title",
    "post /benchmarks summary",
    "post /benchmarks title",
    "post /evaluations/{evaluation_id}/settlement because",
    "post /models card.description",
    "post /models card.intended_use",
    "post /models card.licence",
    "post /models card.name",
    "post /models card.training_data",
    "post /organisations name",
    "post /persons name",
    "post /persons organisation",
    "post /silos name",
    "post /silos organisation",
    "post /studies title",
    "post /tokens name",
}
"""What is kept and shown; each has its own number in a hostile text below."""


TABLES = (
    "/snapshots/<digest>/leaderboard.csv",
    "/snapshots/<digest>/hospitals.csv",
    "/snapshots/<digest>/pairs.csv",
    "/benchmarks/<name>/sites/hospitals.csv",
    "/benchmarks/<name>/sites/matrix.csv",
    "/evaluations/<evaluation_id>/models.csv",
    "/studies/<study_id>/rounds.csv",
)
"""Tables as files; the addresses of the rest are rules of their own."""


def hostile(place: int) -> str:
    """Return a text that leaves an attribute, an element, a script, a template, a query or a cell where it can."""
    return f"=1+{place}'\"><x-injected onclick=a>{{{{7*7}}}}</script>'; DROP TABLE person;--"


def text_fields(schema: dict[str, Any], path: str = "", seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the fields of a body that take such a text."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        if name not in seen:
            yield from text_fields(DOCUMENT["components"]["schemas"][name], path, seen | {name})
        return
    for kind in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(kind, []):
            yield from text_fields(inner, path, seen)
    if _takes(schema):
        yield path.lstrip(".")
    for name, inner in schema.get("properties", {}).items():
        yield from text_fields(inner, f"{path}.{name}", seen)
    for name, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if isinstance(schema.get(name), dict):
            yield from text_fields(schema[name], path + mark, seen)


def _takes(schema: dict[str, Any]) -> bool:
    if schema.get("type") != "string" or schema.keys() & {"enum", "const", "format"}:
        return False
    fits = re.search(schema.get("pattern", ""), hostile(10)) is not None
    return fits and schema.get("maxLength", 10**6) >= len(hostile(10))


def test_every_field_that_takes_any_text_is_known_here() -> None:
    """Who adds one adds it to the hub of the test below."""
    found = set()
    for path, operations in DOCUMENT["paths"].items():
        for method, operation in operations.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None:
                where = path.removeprefix("/api/v1")
                found |= {f"{method} {where} {field}" for field in text_fields(body["schema"])}
    assert found == FREE_TEXT


class Tags(HTMLParser):
    """The elements of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


def spoil(session: Session) -> set[str]:
    """Write a hostile text wherever somebody may have written one; return those that must come to light."""
    texts = (hostile(place) for place in range(10, 99))
    shown = []

    def text(*, public: bool = True) -> str:
        found = next(texts)
        shown.extend([found] if public else [])
        return found

    for model in session.scalars(select(Model)):
        words = {name: text() for name in ("name", "description", "intended_use", "training_data", "licence")}
        model.card = ModelCard.model_validate({**model.card, **words}).model_dump(mode="json")
    for table in (Organisation, Person, Silo):
        for row in session.scalars(select(table)):
            row.name = text()
    for silo in session.scalars(select(Silo)):
        silo.publication = "named"
    for block in session.scalars(select(EstimateBlockRow)):
        block.decision = text(public=False)
    for token in session.scalars(select(Token)):
        token.name = text(public=False)
    for row in session.scalars(select(Benchmark)):
        names = text(public=False), text(public=False)
        words = {name: text() for name in ("title", "summary", "data_source", "licence")}
        words |= {"approve_cohorts_of": [names[0]], "approve_models_of": [names[1]]}
        words["phases"] = [{"name": "first", "title": text(), "opens": "2026-01-01T00:00:00Z"}]
        changed = BenchmarkDefinition.model_validate_json(json.dumps({**row.definition, **words}))
        row.definition = changed.model_dump(mode="json")
    for block in session.scalars(select(EstimateBlockRow)):
        block.decision = text()
    for study in session.scalars(select(Study)):
        changed_plan = StudyPlan.model_validate_json(json.dumps({**study.plan, "title": text()}))
        study.plan = changed_plan.model_dump(mode="json")
    return set(shown)


def answers(walking: Walk) -> Iterator[tuple[str, str, bytes]]:
    """Yield address, media type and body of every page and every file, as the hub's admin and the API give them."""
    caller = walking.callers["hub-admin"]
    browser = Visitor(walking.app.test_client())
    browser.http.set_cookie("medsilo-session", caller.cookie or "")
    for method, rule in [*walking.rules(), *(("GET", table) for table in TABLES)]:
        if method == "GET" and "<table>" not in rule:
            path = walking.path(rule)
            if path.startswith("/api/"):
                headers = {"Authorization": f"Bearer {caller.token}"}
                answer = walking.app.test_client().get(path, headers=headers, buffered=True)
            else:
                answer = browser.get(path)
            assert answer.status_code < 500, path
            assert answer.status_code == 200 or rule not in TABLES, path
            yield path, answer.mimetype, answer.data


def test_no_text_anybody_wrote_becomes_anything_else(showcase_home: Path, tmp_path: Path) -> None:
    """No element of a page or a picture, no cell a spreadsheet computes, no template, no query."""
    home = tmp_path / "hub"
    shutil.copytree(showcase_home, home)
    for walking in walk(home, requests_per_minute=10**6, anonymous_requests_per_minute=10**6):
        services = walking.app.extensions[EXTENSION]
        with services.database.session() as session:
            shown = spoil(session)
        board = Federation(walking.app, Caller(walking.app.test_client())).refresh()
        walking.ids |= {"snapshots.digest": str(board)}
        seen, kinds, written = set(), set(), 0
        for path, kind, body in answers(walking):
            kinds.add(kind)
            text = body.decode(errors="replace")
            if kind == "text/html":
                assert "x-injected" not in Tags(text).found, path
                assert "{{7*7}}" in text or "=1+" not in text, path
                text = HTMLText(text).text
            elif kind.endswith("xml"):
                tree = ElementTree.fromstring(body)
                assert not [element for element in tree.iter() if "x-injected" in element.tag], path
                text = "".join(tree.itertext())
            elif kind == "text/csv":
                written += "=1+" in text
                cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
                assert not [cell for cell in cells if cell.startswith("=")], path
                text = " ".join(cells)
            elif kind.endswith("json"):
                text = " ".join(_strings(json.loads(body)))
            seen |= {one for one in shown if one in text}
        assert {"text/html", "application/json", "text/csv", "application/atom+xml", "image/svg+xml"} <= kinds
        assert shown - seen == set()
        assert written >= 6
        with services.database.reading() as session:
            assert session.scalars(select(Person)).all()


class HTMLText(HTMLParser):
    """What a reader of a page sees, attributes included."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.text += " ".join(value or "" for _, value in attrs)

    def handle_data(self, data: str) -> None:
        self.text += data


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)
