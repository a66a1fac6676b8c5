"""People, their tokens, and the trail of what they did."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.audit import record
from federation_hub.accounts.service import add_person, issue_token
from federation_hub.accounts.tables import AuditEntry, Person, Token
from federation_hub.accounts.tokens import new_token, token_hash, well_formed
from federation_hub.db import now
from silo_node.wire.errors import BadInput, MedSiloError
from tests.hub.federation import Caller, Federation


def test_a_token_says_who_one_is(federation: Federation) -> None:
    """Name, organisation and roles, and nothing of anybody else."""
    ada = federation.person("Ada", "researcher", "reader", organisation="University")
    found = ada.get("/me").get_json()
    assert (found["name"], found["organisation"], found["roles"]) == ("Ada", "University", ["reader", "researcher"])


def test_a_scope_narrows_the_roles_and_never_widens_them(federation: Federation) -> None:
    """A token for a script can do less than its owner, not more."""
    federation.person("Ada", "researcher", "reader")
    with federation.services.database.session() as session:
        person = session.scalars(select(Person).where(Person.name == "Ada")).one()
        token = issue_token(session, person=person, scopes=["reader", "hub-admin"], actor=SYSTEM)
    assert Caller(federation.app.test_client(), token).get("/me").get_json()["roles"] == ["reader"]


@pytest.mark.parametrize("column", ["expires", "revoked"])
def test_a_token_that_is_over_opens_nothing(federation: Federation, column: str) -> None:
    """Expired or revoked, it is as if it had never been."""
    ada = federation.researcher()
    values = {column: now() - timedelta(seconds=1)}
    with federation.services.database.session() as session:
        session.execute(update(Token).where(Token.hash == token_hash(ada.token or "")).values(**values))
    assert ada.get("/me").get_json()["code"] == "not-authenticated"


def test_a_person_who_left_has_no_token(federation: Federation) -> None:
    """Every token of an inactive person is refused."""
    ada = federation.researcher()
    with federation.services.database.session() as session:
        session.execute(update(Person).where(Person.name == "Ada").values(active=False))
    assert ada.get("/me").status_code == 401


def test_a_name_is_given_once(federation: Federation) -> None:
    """And only roles that there are."""
    federation.researcher()
    with federation.services.database.session() as session:
        with pytest.raises(MedSiloError, match="already-exists"):
            add_person(session, name="Ada", organisation="Elsewhere", roles=["reader"])
        with pytest.raises(BadInput, match="role-unknown"):
            add_person(session, name="Bo", organisation="Elsewhere", roles=["emperor"])


def test_a_mistyped_token_is_found_by_its_checksum() -> None:
    """Before the database is asked; so is one of another prefix."""
    token = new_token("msp_")
    assert well_formed(token)
    assert len(token) == 53
    for place in (4, 20, 52):
        other = "A" if token[place] != "A" else "B"
        assert not well_formed(token[:place] + other + token[place + 1 :])
    assert not well_formed("xyz_" + token[4:])


def test_a_transition_and_its_trail_are_written_together_or_not_at_all(federation: Federation) -> None:
    """When a transaction fails, the trail does not tell of something that never happened."""

    def fail() -> None:
        with federation.services.database.session() as session:
            record(session, SYSTEM, "silo.revoke", "silo-000000000000", "active", "revoked")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert federation.audit("silo-000000000000") == []


def test_the_trail_names_who_did_it(federation: Federation) -> None:
    """The person of the token, not the hub."""
    silo_id = federation.invite()["silo_id"]
    admin = federation.admin.get("/me").get_json()["person_id"]
    with federation.services.database.reading() as session:
        entry = session.scalars(select(AuditEntry).where(AuditEntry.subject == silo_id)).one()
    assert (entry.actor_kind, entry.actor_id, entry.action) == ("person", admin, "silo.invite")


def test_the_admin_s_token_is_only_the_owner_s_to_read(federation: Federation) -> None:
    """So is the hub's key."""
    config = federation.services.config
    assert {path.stat().st_mode & 0o777 for path in (config.admin_token_path, config.key_path)} == {0o600}
