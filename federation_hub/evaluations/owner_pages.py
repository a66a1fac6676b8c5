"""The benchmark owner's pages: every model at every hospital, the cause of each empty cell, and asking again."""

from typing import get_args

from flask import Blueprint, redirect
from pydantic import field_validator
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts.browser import read_form, signed_in
from federation_hub.accounts.pages.forms import Form
from federation_hub.api import current_actor
from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.cells import UNDER_WAY
from federation_hub.evaluations.disputes import owns
from federation_hub.evaluations.matrix import matrix, sites_asked
from federation_hub.evaluations.messages import RetryReason
from federation_hub.evaluations.service import Again, plan_evaluations
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.web.lists import asked_page
from federation_hub.web.rendering import link, page
from silo_node.wire.base import Identifier
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("owner_pages", __name__)
OWNERS = frozenset({"benchmark-owner", "hub-admin"})


class RetryForm(Form):
    """Which hospital to ask again, or every one, and why."""

    silo_id: Identifier | None = None
    reason: RetryReason | None = None

    @field_validator("silo_id", "reason", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return None if value == "" else value


@signed_in(blueprint, "GET", "/account/benchmarks", roles=OWNERS)
def own_benchmarks() -> str:
    """List the benchmarks one looks after, every version."""
    with services().database.reading() as session:
        actor, wanted = current_actor(), select(Benchmark)
        if "hub-admin" not in actor.roles:
            wanted = wanted.where(Benchmark.owner_organisation_id == actor.organisation_id)
        found = listed(session, wanted, asked_page(), Benchmark.name, Benchmark.version)
        return page("owner/benchmarks.html", benchmarks=found.rows, next=found.next)


@signed_in(blueprint, "GET", "/account/benchmarks/<name>/<int:version>", roles=OWNERS)
def benchmark_matrix(name: str, version: int) -> str:
    """Show the matrix of a benchmark version."""
    with services().database.reading() as session:
        benchmark = find(session, name, version)
        if not owns(benchmark, current_actor()):
            raise MedSiloError("not-permitted")
        query = asked_page()
        found = matrix(session, benchmark, query)
        return page(
            "owner/matrix.html",
            title=benchmark.definition["title"],
            provenance_of=benchmark.definition["provenance"],
            matrix=found,
            # The first page looks again by itself; a later one would be replaced by it.
            live=query.cursor is None and any(cell.state in UNDER_WAY for row in found.models for cell in row.cells),
            reasons=get_args(RetryReason),
        )


@signed_in(blueprint, "POST", "/account/benchmarks/<name>/<int:version>/retry", roles=OWNERS)
def ask_again(name: str, version: int) -> AnyResponse:
    """Ask one hospital or all of them again."""
    form = read_form(RetryForm)
    with services().database.session() as session:
        benchmark = find(session, name, version)
        if not owns(benchmark, current_actor()):
            raise MedSiloError("not-permitted")
        if form.silo_id is not None and all(silo.id != form.silo_id for silo in sites_asked(session, benchmark)):
            raise MedSiloError("not-found")
        plan_evaluations(session, benchmark, again=Again(form.silo_id, form.reason))
    return redirect(link("account", "benchmarks", name, version), 303)
