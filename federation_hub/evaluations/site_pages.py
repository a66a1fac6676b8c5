"""The hospitals of a benchmark: what each holds, and which models were measured where, or why they were not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flask import Blueprint, Response, make_response, redirect, request
from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts.actors import ANONYMOUS, Actor
from federation_hub.accounts.browser import private, read_form, signed_in, visitor
from federation_hub.api import current_actor
from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.cells import MARKS, UNDER_WAY, cause, counted, words
from federation_hub.evaluations.disputes import owns
from federation_hub.evaluations.matrix import Grid, grid, sites_asked
from federation_hub.evaluations.members import Member, members, public_models
from federation_hub.evaluations.messages import MatrixCell, RetryReason
from federation_hub.evaluations.service import Again, plan_evaluations
from federation_hub.services import services
from federation_hub.web.data_tables import DataTable, answer
from federation_hub.web.rendering import link, page
from federation_hub.web.words import band, joined, plural
from silo_node.web.formats import day
from silo_node.wire.base import Identifier
from silo_node.wire.cohorts import count_band
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("site_pages", __name__)
MODELS_A_PAGE, SITES_A_PAGE = 25, 15
ANSWERS = {"requested": "asked to join", "approved": "takes part", "declined": "not accepted", "ended": "has left"}
REASONS: Mapping[RetryReason, str] = {
    "site-ready": "the hospital is ready now",
    "labels-corrected": "labels were corrected",
    "software-fault": "software was at fault",
    "model-added": "a model was added",
    "result-withdrawn": "a result was withdrawn",
}
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
class ShownCell:
    """One model at one hospital: its shape, its words, why there is no number, and where to read more."""

    cell: MatrixCell
    words: str
    cause: str
    mark: str
    href: str | None
    """The evaluation's page, which those at a hospital that shows nothing have not."""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model and its cells, one a hospital."""

    digest: str
    name: str
    cells: tuple[ShownCell, ...]


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
    counts: tuple[tuple[str, int], ...]
    missing: tuple[tuple[str, str, ShownCell], ...]
    live: bool
    again: tuple[tuple[str, str], ...]
    """For its owner: the hospitals that may be asked again, by id and label."""

    page: int
    pages: int
    site_page: int
    site_pages: int
    ignored: tuple[str, ...]

    def page_link(self, number: int) -> str:
        return f"{self.path}?page={number}&hospitals={self.site_page}"

    def site_page_link(self, number: int) -> str:
        return f"{self.path}?page={self.page}&hospitals={number}"


class AskAgain(BaseModel):
    """The form of a benchmark's owner: which hospital to ask once more, or all, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    silo_id: Identifier | None = None
    reason: RetryReason


@blueprint.get("/benchmarks/<name>/sites")
def sites(name: str) -> Response:
    """Show the hospitals of a benchmark's newest version and which models each has measured."""
    actor = visitor()
    with services().database.reading() as session:
        view = _view(session, find(session, name), request.args, actor)
    answered = make_response(page("sites.html", view=view, reasons=REASONS))
    return answered if actor is ANONYMOUS else private(answered)


@blueprint.get("/benchmarks/<name>/sites/<table>.<any(csv, json):form>")
def sites_table(name: str, table: str, form: str) -> Response:
    """Return one of the tables as data."""
    with services().database.reading() as session:
        row = find(session, name)
        every = members(session, row)
        found = _tables(_shown(every), _public(session, row, every))
    return answer(found, table, form)


@signed_in(blueprint, "POST", "/benchmarks/<name>/sites/again", roles=frozenset({"benchmark-owner", "hub-admin"}))
def ask_again(name: str) -> AnyResponse:
    """Offer a hospital, or all, an evaluation once more: a visible further attempt."""
    form = read_form(AskAgain)
    with services().database.session() as session:
        row = find(session, name)
        if not owns(row, current_actor()):
            raise MedSiloError("not-permitted")
        if form.silo_id is not None and all(silo.id != form.silo_id for silo in sites_asked(session, row)):
            raise MedSiloError("not-found")
        plan_evaluations(session, row, again=Again(form.silo_id, form.reason))
    return redirect(link("benchmarks", name, "sites"), 303)


def _shown(every: Sequence[Member]) -> list[Member]:
    return [member for member in every if member.site.shown]


def _public(session: Session, row: Benchmark, every: Sequence[Member]) -> Grid:
    """Return the grid as anybody may see it: hospitals that let themselves be seen, and models that are public."""
    shown = {member.site.silo_id for member in _shown(every)}
    return grid(session, row).kept(shown, public_models(session, row))


def _view(session: Session, row: Benchmark, arguments: Mapping[str, str], actor: Actor) -> SitesPage:
    every, owner = members(session, row), owns(row, actor)
    found = grid(session, row) if owner else _public(session, row, every)
    shown = _shown(every)
    at, ignored = asked_pages(arguments)
    pages, site_pages = max(1, -(-len(found.models) // MODELS_A_PAGE)), max(1, -(-len(found.sites) // SITES_A_PAGE))
    place, site_place = min(at["page"], pages), min(at["hospitals"], site_pages)
    across = slice((site_place - 1) * SITES_A_PAGE, site_place * SITES_A_PAGE)
    columns = [site.label for site in found.sites[across]]
    visible = {member.site.label for member in shown}
    rows = [
        ModelRow(
            entry.model,
            entry.name,
            tuple(
                _cell(cell, linked=label in visible) for label, cell in zip(columns, entry.cells[across], strict=True)
            ),
        )
        for entry in found.rows(slice((place - 1) * MODELS_A_PAGE, place * MODELS_A_PAGE))
    ]
    states = found.states()
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
        rows=tuple(rows),
        counts=counted(states),
        missing=tuple(
            (entry.name, label, cell)
            for entry in rows
            for label, cell in zip(columns, entry.cells, strict=True)
            if cell.cell.code is not None
        ),
        live=any(state in UNDER_WAY for state in states),
        again=tuple((site.silo_id, site.label) for site in found.sites) if owner else (),
        page=place,
        pages=pages,
        site_page=site_place,
        site_pages=site_pages,
        ignored=ignored,
    )


def _cell(cell: MatrixCell, *, linked: bool) -> ShownCell:
    href = link("evaluations", cell.evaluation_id) if linked and cell.evaluation_id is not None else None
    return ShownCell(cell, words(cell), cause(cell), MARKS[cell.state], href)


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


def _tables(shown: Sequence[Member], found: Grid) -> tuple[DataTable, ...]:
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
    cells = tuple(
        (entry.model, entry.name, site.label, cell.state, cell.code, cell.attempt, cell.evaluation_id)
        for entry in found.rows(slice(None))
        for site, cell in zip(found.sites, entry.cells, strict=True)
    )
    named = ("hospital", "named", "consent", "cohort", "patients", "test_cases", "classes", "makers")
    columns = ("model", "name", "hospital", "state", "code", "attempt", "evaluation")
    return (
        DataTable("hospitals", "The hospitals of the benchmark", named, hospitals),
        DataTable("matrix", "Which model was measured at which hospital, and why not", columns, cells),
    )
