"""No page and no list asks the database more often because there are more models, hospitals, results or people."""

from collections.abc import Callable

import pytest
from sqlalchemy import event, select
from werkzeug.test import TestResponse

from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.audit import record
from federation_hub.accounts.service import add_person
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.service import find
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.studies.tables import Study
from tests.hub.browsing import signed_in
from tests.hub.federation import Federation
from tests.hub.test_leaderboard_service import standing

MORE = 20
PAGES = (
    "/",
    "/benchmarks/chest_phantom",
    "/benchmarks/chest_phantom?sort=worst",
    "/benchmarks/chest_phantom/figures",
    "/benchmarks/chest_phantom/sites",
    "/studies",
    "/status",
    "/methods",
    "/feed.atom",
    "/api/v1/benchmarks",
    "/api/v1/benchmarks/chest_phantom/leaderboard",
    "/api/v1/benchmarks/chest_phantom/leaderboard.csv",
)
ROLES = ("reader", "researcher", "benchmark-owner", "data-steward", "hub-admin")
SIGNED_IN = (
    "/account",
    "/account/benchmarks",
    "/account/benchmarks/chest_phantom/1",
    "/account/models",
    "/account/tokens",
    "/admin/people",
    "/admin/silos",
    "/audit",
    "/audit.csv",
    "/benchmarks",
    "/benchmarks/chest_phantom/1",
    "/dashboard",
    "/submit",
    "/submit/chest_phantom/1",
    "/api/v1/associations",
    "/api/v1/audit",
    "/api/v1/benchmarks/chest_phantom/1/matrix",
    "/api/v1/evaluations",
    "/api/v1/models",
    "/api/v1/organisations",
    "/api/v1/persons",
    "/api/v1/silos",
    "/api/v1/studies",
    "/api/v1/tokens",
)


def queries(federation: Federation, address: str, ask: Callable[[str], TestResponse] | None = None) -> int:
    """Return how many statements a second request for a page makes."""
    seen: list[object] = []
    ask = ask or federation.app.test_client().get

    def note(*arguments: object) -> None:
        seen.append(arguments[2])

    assert ask(address).status_code == 200, address
    event.listen(federation.services.database.engine, "before_cursor_execute", note)
    try:
        assert ask(address).status_code == 200
    finally:
        event.remove(federation.services.database.engine, "before_cursor_execute", note)
    return len(seen)


def grow(federation: Federation) -> None:
    """Write twenty more models on the board, and twenty more hospitals that reported what the first one did."""
    with federation.services.database.session() as session:
        row = find(session, "chest_phantom")
        model, silo = (session.scalars(select(table)).first() for table in (Model, Silo))
        first = session.scalars(select(EstimateBlockRow).where(EstimateBlockRow.state == "accepted")).first()
        assert model is not None
        assert silo is not None
        assert first is not None
        for index in range(MORE):
            digest = f"blake3:{index:064x}"
            session.add(copied(model, digest=digest, card=model.card | {"name": f"More {index}"}))
            session.flush()
            requested = {"requested_side": "model", "requested_by": "per-000000000000"}
            session.add(
                Association(
                    kind="model-benchmark", state="approved", benchmark_id=row.id, model_digest=digest, **requested
                )
            )
            add_hospital(session, silo, first, index)
    federation.refresh()


def add_hospital(session, silo: Silo, first: EstimateBlockRow, index: int) -> None:
    other = copied(silo, id=f"silo-more{index:08d}", name=f"Hospital {index}")
    session.add(other)
    session.flush()
    cohort = session.get_one(Cohort, first.cohort_id)
    own = copied(cohort, id=f"coh-more{index:08d}", silo_id=other.id, fingerprint=f"keyed-blake3:{index:064x}")
    task = copied(session.get_one(Task, first.task_id), id=f"task-more{index:08d}", silo_id=other.id)
    evaluation = copied(
        session.get_one(Evaluation, first.evaluation_id), id=f"eval-more{index:08d}", silo_id=other.id, cohort_id=own.id
    )
    session.add(own)
    session.flush()
    session.add(evaluation)
    session.flush()
    task.evaluation_id = evaluation.id
    session.add(task)
    session.flush()
    named = {"evaluation_id": evaluation.id, "task_id": task.id, "cohort_id": own.id, "silo_id": other.id}
    session.add(copied(first, digest=f"blake3:{index + 100:064x}", **named))
    session.flush()


def copied(row, **changes: object):
    """Return a row like another one, with changes."""
    values = {column.key: getattr(row, column.key) for column in type(row).__mapper__.column_attrs}
    return type(row)(**values | changes)


@pytest.mark.usefixtures("filled")
def test_no_page_makes_more_queries_for_more_rows(filled: Federation) -> None:
    """Five models and four hospitals, then five times as many: the same number for each page."""
    before = {address: queries(filled, address) for address in PAGES}
    grow(filled)
    assert b"More 7" in standing(filled).body
    after = {address: queries(filled, address) for address in PAGES}
    assert after == before


def crowd(federation: Federation) -> None:
    """Write twenty more people with tokens, of organisations of their own, twenty studies, and what the trail tells."""
    with federation.services.database.session() as session:
        study = session.scalars(select(Study)).first()
        assert study is not None
        for index in range(MORE):
            add_person(session, name=f"Person {index}", organisation=f"Organisation {index}", roles=("researcher",))
            session.add(copied(study, id=f"study-more{index:08d}"))
            record(session, SYSTEM, "study.more", f"study-more{index:08d}", None, "draft")


@pytest.mark.usefixtures("filled")
def test_no_list_for_people_makes_more_queries_for_more_rows(filled: Federation) -> None:
    """For somebody who has every role, so that every row is looked at."""
    browser = signed_in(filled, "Everybody", *ROLES, organisation=owner_of_benchmark(filled))

    def ask(address: str) -> TestResponse:
        if address.startswith("/api/v1"):
            return filled.admin.get(address.removeprefix("/api/v1"))
        return browser.get(address)

    before = {address: queries(filled, address, ask) for address in SIGNED_IN}
    grow(filled)
    crowd(filled)
    after = {address: queries(filled, address, ask) for address in SIGNED_IN}
    assert after == before


def owner_of_benchmark(federation: Federation) -> str:
    """Return the name of the organisation that answers for the benchmark."""
    with federation.services.database.reading() as session:
        owner = find(session, "chest_phantom").owner_organisation_id
        return session.get_one(Organisation, owner).name
