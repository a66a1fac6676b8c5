"""What this site holds: its cohorts, the card the hub may see of each, and registering or retiring one."""

from typing import Any

from flask import Blueprint, redirect, render_template
from werkzeug.wrappers import Response as AnyResponse

from silo_node.benchmarks import known_benchmark
from silo_node.catalogue import Catalogue, CohortRow
from silo_node.cohorts.registry import find_cohort, prepare_registration, retire_cohort
from silo_node.console.builds import last_build
from silo_node.console.desk import desk, signed_in
from silo_node.console.pages.building import quality_of
from silo_node.console.statements import Background, Statement, statement
from silo_node.console.words import COHORT_STATES, moment, reason
from silo_node.identity import dial
from silo_node.outbox.box import Item
from silo_node.policy import load_policy
from silo_node.privacy.account import PrivacyAccount
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.privacy.words import ACCOUNT_HEADINGS, account_rows, budget_words, mechanism_words
from silo_node.registration import register_cohort
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.cohorts import CohortRegistration
from silo_node.wire.envelope import seal
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("cohorts", __name__)


@blueprint.get("/cohorts")
def listed() -> str:
    """List the cohorts, what was taken in, and what was refused at intake."""
    cohorts, cases, quarantine = _holdings()
    build = last_build(desk().home)
    return render_template(
        "cohorts.html",
        cohorts=[_line(row) for row in cohorts],
        cases=cases,
        quarantine=quarantine,
        reason=reason,
        building=build is not None and build.state == "running",
    )


@blueprint.get("/cohorts/<cohort_id>")
def shown(cohort_id: str) -> str:
    """Show one cohort after comparing its files with what was frozen, and exactly what registering would send."""
    row = find_cohort(desk().home.create(), cohort_id)
    told, problem = None, None
    try:
        told = _told(row)
    except MedSiloError as error:
        problem = error
    return render_template(
        "cohort.html",
        row=row,
        line=_line(row),
        definition=_definition(row),
        told=told,
        problem=problem,
        quality=quality_of(row.cohort_id),
        privacy=_privacy(row.cohort_id),
    )


@blueprint.post("/cohorts/<cohort_id>/register")
def register(cohort_id: str) -> AnyResponse:
    """Sign the registration; it leaves or waits, as the policy says."""
    identity = desk().identity()
    registration = _registration(find_cohort(desk().home, cohort_id))
    hub = dial(desk().home, desk().config, identity)
    try:
        with desk().journal() as journal:
            item, record = register_cohort(desk().home, identity, hub, journal, registration)
    finally:
        hub.close()
    if record is None:
        signed_in().notice = "The registration waits here until a person releases it."
        return redirect(f"/approvals/{item.item_id}", 303)
    signed_in().notice = f"Registered at the hub as {record.cohort_id}."
    return redirect(f"/cohorts/{cohort_id}", 303)


@blueprint.post("/cohorts/<cohort_id>/retire")
def retire(cohort_id: str) -> AnyResponse:
    """Retire a cohort and delete its prepared images."""
    retire_cohort(desk().home, cohort_id)
    signed_in().notice = "The cohort is retired, and its prepared images are deleted. The raw cases stay."
    return redirect(f"/cohorts/{cohort_id}", 303)


def _privacy(cohort_id: str) -> dict[str, Any]:
    """Return the cohort's account in the words of ``silo-node privacy ledger``, or the problem with it."""
    budget = load_policy(desk().home).budget
    with desk().journal() as journal:
        book = PrivacyLedger(journal)
        try:
            book.verify()
            standings = PrivacyAccount(desk().home, journal).standings(budget.delta, cohort_id)
        except MedSiloError as error:
            return {"problem": error}
        entries = [entry for entry in book.entries(cohort_id) if entry.spends]
    return {
        "budget": budget_words(budget),
        "account": [dict(zip(ACCOUNT_HEADINGS, row, strict=True)) for row in account_rows(budget, standings)],
        "lines": [
            (moment(entry.created), entry.part, entry.subject, mechanism_words(entry.mechanism)) for entry in entries
        ],
    }


def _holdings() -> tuple[list[CohortRow], int, dict[str, int]]:
    if not desk().home.catalogue.exists():
        return [], 0, {}
    with Catalogue(desk().home.catalogue) as catalogue:
        refused: dict[str, int] = {}
        for row in catalogue.quarantine():
            refused[row.code] = refused.get(row.code, 0) + 1
        return catalogue.cohorts(), catalogue.count_cases(), dict(sorted(refused.items()))


def _line(row: CohortRow) -> dict[str, Any]:
    definition = _definition(row)
    return {
        "id": row.cohort_id,
        "title": definition.title if definition else row.benchmark,
        "benchmark": f"{row.benchmark} {row.version}",
        "state": row.state,
        "state_words": COHORT_STATES.get(row.state, row.state),
        "facts": row.facts,
        "created": moment(row.created),
    }


def _definition(row: CohortRow) -> BenchmarkDefinition | None:
    try:
        reference = BenchmarkReference(name=row.benchmark, version=row.version, digest=row.definition)
        return known_benchmark(desk().home, reference)
    except (MedSiloError, ValueError):
        return None


def _registration(row: CohortRow) -> CohortRegistration:
    silo_id, provenance = desk().identity().silo_id, desk().config.provenance
    return prepare_registration(desk().home, row.cohort_id, silo_id=silo_id, provenance=provenance)


def _told(row: CohortRow) -> Statement | None:
    """Return what registering would send, in the words of an item of the outbox; None where it cannot be registered."""
    if row.state not in ("frozen", "registered"):
        return None
    envelope = seal(_registration(row), desk().identity().key)
    draft = Item("", "cohort-registration", "", envelope, None, "computed", None, None, None, "", "")
    return statement(draft, Background(_definition(row)))
