"""The hospitals of a benchmark: what each holds, and which models were measured where, or why they were not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, request
from sqlalchemy.orm import Session

from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.cells import MARKS, STATES, Candidate, Cell, cell, counted
from federation_hub.evaluations.matrix_reading import Member, candidates, members
from federation_hub.services import services
from federation_hub.web.data_tables import DataTable, answer
from federation_hub.web.rendering import link, page
from federation_hub.web.words import band, joined, plural
from silo_node.web.formats import day
from silo_node.wire.cohorts import count_band

blueprint = Blueprint("site_pages", __name__)
MODELS_A_PAGE, SITES_A_PAGE = 25, 15
ANSWERS = {"requested": "asked to join", "approved": "takes part", "declined": "not accepted", "ended": "has left"}
MAKERS = {"ge": "GE", "siemens": "Siemens", "philips": "Philips", "canon": "Canon", "fujifilm": "Fujifilm"}


@dataclass(frozen=True, slots=True)
class SiteRow:
    """A hospital that lets itself be seen."""

    label: str
    named: bool
    since: str
    answer: str
    patients: str
    cases: str
    classes: tuple[str, ...]
    makers: str


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model and its cells, one a hospital."""

    digest: str
    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class SitesPage:
    """Everything the page of a benchmark's hospitals shows."""

    title: str
    eyebrow: str
    sentence: str
    provenance: str
    path: str
    board_href: str
    about_href: str
    labels: tuple[str, ...]
    sites: tuple[SiteRow, ...]
    columns: tuple[str, ...]
    rows: tuple[ModelRow, ...]
    counts: tuple[tuple[str, str, int], ...]
    missing: tuple[tuple[str, str, Cell], ...]
    live: bool
    page: int
    pages: int
    site_page: int
    site_pages: int
    ignored: tuple[str, ...]

    def page_link(self, number: int) -> str:
        return f"{self.path}?page={number}&hospitals={self.site_page}"

    def site_page_link(self, number: int) -> str:
        return f"{self.path}?page={self.page}&hospitals={number}"


@blueprint.get("/benchmarks/<name>/sites")
def sites(name: str) -> str:
    """Show the hospitals of a benchmark's newest version and which models each has measured."""
    with services().database.reading() as session:
        return page("sites.html", view=_view(session, find(session, name), request.args))


@blueprint.get("/benchmarks/<name>/sites/<table>.<any(csv, json):form>")
def sites_table(name: str, table: str, form: str) -> Response:
    """Return one of the tables as data."""
    with services().database.reading() as session:
        row = find(session, name)
        found = _tables(_shown(members(session, row)), candidates(session, row))
    return answer(found, table, form)


def _shown(every: Sequence[Member]) -> list[Member]:
    return [member for member in every if member.site.shown]


def _view(session: Session, row: Benchmark, arguments: Mapping[str, str]) -> SitesPage:
    every, models = members(session, row), candidates(session, row)
    shown = _shown(every)
    cells = {(member.site.label, model.digest): cell(member.hospital, model) for member in shown for model, _ in models}
    at, ignored = asked_pages(arguments)
    pages, site_pages = max(1, -(-len(models) // MODELS_A_PAGE)), max(1, -(-len(shown) // SITES_A_PAGE))
    place, site_place = min(at["page"], pages), min(at["hospitals"], site_pages)
    columns = [member.site.label for member in shown][(site_place - 1) * SITES_A_PAGE : site_place * SITES_A_PAGE]
    listed = models[(place - 1) * MODELS_A_PAGE : place * MODELS_A_PAGE]
    definition = row.definition
    return SitesPage(
        title=definition["title"],
        eyebrow=f"Hospitals of {row.name}, version {row.version}",
        sentence=_sentence(every, shown),
        provenance=definition["provenance"],
        path=link("benchmarks", row.name, "sites"),
        board_href=link("benchmarks", row.name),
        about_href=link("benchmarks", row.name, row.version),
        labels=tuple(definition["labels"]) if definition["task"] == "classification" else (),
        sites=tuple(_row(member) for member in shown),
        columns=tuple(columns),
        rows=tuple(
            ModelRow(model.digest, name, tuple(cells[label, model.digest] for label in columns))
            for model, name in listed
        ),
        counts=tuple((MARKS[state], STATES[state], count) for state, count in counted(list(cells.values())).items()),
        missing=tuple(
            (name, label, cells[label, model.digest])
            for model, name in listed
            for label in columns
            if cells[label, model.digest].code is not None
        ),
        live=any(found.state in ("waiting", "running", "held") for found in cells.values()),
        page=place,
        pages=pages,
        site_page=site_place,
        site_pages=site_pages,
        ignored=ignored,
    )


def asked_pages(arguments: Mapping[str, str]) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the pages of models and of hospitals that were asked for, and the parameters not understood."""
    asked, ignored = {"page": 1, "hospitals": 1}, []
    for name in asked:
        text = arguments.get(name, "1")
        if text.isascii() and text.isdigit() and len(text) <= 6:
            asked[name] = max(1, int(text))
        else:
            ignored.append(name)
    return asked, (*ignored, *(["other parameters"] if set(arguments) - set(asked) else []))


def _sentence(every: Sequence[Member], shown: Sequence[Member]) -> str:
    if not every:
        return "No hospital has registered a cohort yet."
    named, hidden = sum(member.site.named for member in shown), len(every) - len(shown)
    told = f"{plural(len(every), 'hospital')} registered a cohort."
    letters = "the others go" if named else "They go"
    names = f" {f'{named} agreed to be named; ' if named else ''}{letters} by letters that stay theirs."
    names = names if named < len(shown) else ""
    quiet = (
        f" {hidden} {'lets nothing of its' if hidden == 1 else 'let nothing of their'} own be shown." if hidden else ""
    )
    return told + names + quiet


def _row(member: Member) -> SiteRow:
    card = member.cohort.card
    return SiteRow(
        label=member.site.label,
        named=member.site.named,
        since=day(member.cohort.created),
        answer="cohort retired" if member.cohort.state == "retired" else ANSWERS.get(member.association, "asked"),
        patients=band(card["patients"]),
        cases=band(count_band(member.cohort.test_cases)) if member.cohort.test_cases else "none",
        classes=tuple(band(count) for count in card["classes"]),
        makers=joined([MAKERS.get(maker, "another maker") for maker in card["makers"]]) or "not told",
    )


def _tables(shown: Sequence[Member], models: Sequence[tuple[Candidate, str]]) -> tuple[DataTable, ...]:
    hospitals = tuple(
        (
            member.site.label,
            member.site.named,
            member.association,
            member.cohort.state,
            member.cohort.card["patients"],
            count_band(member.cohort.test_cases),
            " ".join(member.cohort.card["classes"]),
            " ".join(member.cohort.card["makers"]),
        )
        for member in shown
    )
    matrix = []
    for model, name in models:
        for member in shown:
            found = cell(member.hospital, model)
            matrix.append((model.digest, name, member.site.label, found.state, found.code, found.evaluation))
    named = ("hospital", "named", "consent", "cohort", "patients", "test_cases", "classes", "makers")
    return (
        DataTable("hospitals", "The hospitals of the benchmark", named, hospitals),
        DataTable(
            "matrix",
            "Which model was measured at which hospital, and why not",
            ("model", "name", "hospital", "state", "code", "evaluation"),
            tuple(matrix),
        ),
    )
