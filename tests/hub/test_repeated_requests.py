"""Asking again: with an idempotency key, with the ETag one has, and page by page."""

from datetime import timedelta

from sqlalchemy import select, update

from federation_hub.accounts.tables import IdempotentAnswer
from federation_hub.db import now
from tests.hub.federation import Federation

KEY = {"Idempotency-Key": "a-key-of-mine-1"}
BODY = {"name": "St. Once", "organisation": "Once Hospital"}


def test_a_repeated_request_is_done_once_and_answered_the_same(federation: Federation) -> None:
    """With the very same one-time code; only one silo is there."""
    answers = [federation.admin.request("POST", "/silos", json=BODY, headers=KEY) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].get_json() == answers[1].get_json()
    assert len(federation.audit(answers[0].get_json()["silo_id"])) == 1


def test_what_is_kept_tells_a_thief_nothing(federation: Federation) -> None:
    """The answer holds a fresh token; in the database it is encrypted under what only the caller has."""
    token = federation.admin.request("POST", "/tokens", json={"name": "x"}, headers=KEY).get_json()["token"]
    with federation.services.database.reading() as session:
        row = session.scalars(select(IdempotentAnswer)).one()
    assert row.answer is not None
    assert token.encode() not in row.answer
    assert KEY["Idempotency-Key"] not in row.hash


def test_a_key_belongs_to_one_request_of_one_caller(federation: Federation) -> None:
    """Another body is refused, another person has keys of their own."""
    federation.admin.request("POST", "/silos", json=BODY, headers=KEY)
    other = federation.admin.request("POST", "/silos", json={**BODY, "name": "St. Twice"}, headers=KEY)
    assert (other.status_code, other.get_json()["code"]) == (422, "idempotency-mismatch")
    ada = federation.researcher().request("POST", "/tokens", json={"name": "hers"}, headers=KEY)
    assert ada.status_code == 201


def test_a_refusal_is_not_kept(federation: Federation) -> None:
    """What was wrong may be put right and sent again with the same key."""
    broken = federation.admin.request("POST", "/silos", json={"name": "St. Once"}, headers=KEY)
    assert broken.status_code == 422
    assert federation.admin.request("POST", "/silos", json=BODY, headers=KEY).status_code == 201


def test_while_the_first_is_being_answered_the_second_waits(federation: Federation) -> None:
    """Until it is clear that the first will never be answered."""
    federation.admin.request("POST", "/silos", json=BODY, headers=KEY)
    with federation.services.database.session() as session:
        session.execute(update(IdempotentAnswer).values(answer=None))
    busy = federation.admin.request("POST", "/silos", json=BODY, headers=KEY)
    assert (busy.status_code, busy.get_json()["code"]) == (409, "idempotency-busy")
    with federation.services.database.session() as session:
        session.execute(update(IdempotentAnswer).values(created=now() - timedelta(minutes=3)))
    assert federation.admin.request("POST", "/silos", json=BODY, headers=KEY).status_code == 201


def test_a_key_that_is_none_is_refused(federation: Federation) -> None:
    """Too short to be random, or not ASCII."""
    for key in ("short", "k" * 81, "with blank in it"):
        answer = federation.admin.request("POST", "/silos", json=BODY, headers={"Idempotency-Key": key})
        assert (answer.status_code, answer.get_json()["fields"]) == (422, ["Idempotency-Key"])


def test_what_has_not_changed_is_not_sent_again(federation: Federation) -> None:
    """Every JSON answer to a GET has an ETag; a change makes another."""
    first = federation.admin.get("/silos")
    tag = {"If-None-Match": first.headers["ETag"]}
    again = federation.admin.request("GET", "/silos", headers=tag)
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    federation.invite()
    assert federation.admin.request("GET", "/silos", headers=tag).status_code == 200


def test_a_list_comes_page_by_page_also_while_it_grows(federation: Federation) -> None:
    """Nobody is told twice and nobody left out."""
    for name in ("Ada", "Bo", "Cy", "Di"):
        federation.researcher(name)
    first = federation.admin.get("/persons", limit=2).get_json()
    federation.researcher("Aa, who came in between")
    names, cursor = [person["name"] for person in first["persons"]], first["next"]
    while cursor:
        found = federation.admin.get("/persons", limit=2, cursor=cursor).get_json()
        names += [person["name"] for person in found["persons"]]
        cursor = found["next"]
    assert names == ["Ada", "Bo", "Cy", "Di", "admin"]
    assert federation.admin.get("/persons", limit=501).status_code == 422
