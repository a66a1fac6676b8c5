"""Idle silos ask all the time: their questions write nothing, wait for nobody, and hold no connection."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime

import pytest
from flask import Flask, request, request_finished
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import OperationalError

from federation_hub.hanging_up import hangs_up
from federation_hub.intake.log import MOST_WAITING
from federation_hub.silos.tables import Silo
from federation_hub.sweeper import sweep
from tests.hub.federation import Federation, SiloCaller, bundle_bytes

QUESTION = {"kinds": ["evaluation", "round"]}


@contextmanager
def written_by_another_process(federation: Federation) -> Iterator[None]:
    """Hold the database's write lock from outside, on a hub that has little patience."""
    database = federation.services.database
    database.engine.dispose()
    event.listen(database.engine, "connect", _impatient)
    with closing(sqlite3.connect(str(database.url.database), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def _impatient(connection: DBAPIConnection, _: object) -> None:
    connection.cursor().execute("PRAGMA busy_timeout=20")


def last_seen(federation: Federation, silo: SiloCaller) -> datetime | None:
    """Return when the hub says it last heard of a silo."""
    with federation.services.database.reading() as session:
        return session.get_one(Silo, silo.silo_id).last_seen


def test_a_silo_for_which_there_is_nothing_is_answered_while_the_database_is_written(federation: Federation) -> None:
    """When it was seen is written down by the next sweep that can."""
    silo = federation.silo()
    with written_by_another_process(federation):
        answer = silo.post("/tasks/claim", QUESTION)
        assert (answer.status_code, answer.get_json()["task"]) == (200, None)
    assert last_seen(federation, silo) is None
    sweep(federation.services)
    assert last_seen(federation, silo) is not None


def test_a_silo_was_seen_although_its_first_sweep_failed(federation: Federation) -> None:
    """What could not be written waits for the next time, and a later question counts more than an earlier one."""
    silo, seen = federation.silo(), federation.services.seen
    silo.post("/tasks/claim", QUESTION)
    with written_by_another_process(federation), pytest.raises(OperationalError, match="locked"):
        sweep(federation.services)
    seen.write(federation.services.database)
    assert last_seen(federation, silo) is not None


def test_many_questions_that_wait_to_be_logged_do_not_fail_for_a_locked_database(federation: Federation) -> None:
    """They stand in the spool, and are in the log once somebody reads it."""
    silo, intake = federation.silo(), federation.services.intake
    arrived = {"method": "POST", "path": "/api/v1/tasks/claim", "subject": "", "digest": f"blake3:{0:064x}", "size": 2}
    with written_by_another_process(federation):
        for _ in range(MOST_WAITING):
            intake.note(silo.silo_id, **arrived)
        assert silo.post("/tasks/claim", QUESTION).status_code == 200
    assert len(intake.read(silo.silo_id, 0).entries) > MOST_WAITING


def test_a_database_that_stays_locked_is_no_fault_of_the_hub(federation: Federation) -> None:
    """Whoever needed to write is told to come back, and then gets its task as if nothing had been."""
    silo = federation.silo()
    silo.register_cohort(federation.publish())
    federation.researcher().submit(bundle_bytes())
    with written_by_another_process(federation):
        answer = silo.post("/tasks/claim", QUESTION)
        assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    assert silo.claim() is not None


def test_who_is_told_to_wait_long_is_not_held_on_the_line(federation: Federation) -> None:
    """An idle silo waits five seconds; one that something happened to lately asks twice a second and stays."""
    idle, busy = federation.silo("Idle"), federation.silo("Busy")
    busy.register_cohort(federation.publish())
    federation.researcher().submit(bundle_bytes())
    ended: list[bool] = []

    def note(_: Flask, **__: object) -> None:
        ended.append(hangs_up(request.environ))

    with request_finished.connected_to(note, federation.app):
        waits = [silo.post("/tasks/claim", QUESTION).get_json()["wait_seconds"] for silo in (idle, busy)]
    assert (waits, ended) == ([5.0, 0.5], [True, False])
