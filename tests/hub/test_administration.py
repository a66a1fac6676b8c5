"""The desk, administration and the audit trail in the browser: for whom they are, and what they do."""

import csv
import io
import json

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from federation_hub.accounts.tables import AuditEntry
from federation_hub.cli import app as hub_command
from silo_node.wire.envelope import key_fingerprint, public_key_text
from silo_node.wire.errors import BadInput
from tests.hub.browsing import identifier, signed_in, visitor
from tests.hub.federation import Federation, bundle_bytes


def test_an_admin_invites_a_person_who_can_sign_in(federation: Federation) -> None:
    """By the link on the page, which is shown once; roles are changed and the account withdrawn there, too."""
    admin = signed_in(federation, "Root", "hub-admin")
    form = {"name": "Ada", "organisation": "University", "roles": ["researcher", "reader"]}
    page = admin.send("/admin/people", form)
    code = page.text.split("/join?code=")[1][:32]
    assert visitor(federation.app).get(f"/join?code={code}").status_code == 200
    assert code not in admin.get("/admin/people").text
    person_id = identifier(federation, "Ada")
    assert admin.send(f"/admin/people/{person_id}/roles", {"roles": ["reader"]}).status_code == 303
    assert admin.send(f"/admin/people/{person_id}/roles", {}).status_code == 422
    assert admin.send(f"/admin/people/{person_id}/withdraw").status_code == 303
    assert federation.audit(person_id) == [
        ("person.add", None, "active"),
        ("person.invite", None, "invited"),
        ("person.role", "with", "without"),
        ("person.active", "active", "withdrawn"),
    ]


def test_an_admin_lets_a_silo_in_and_out(federation: Federation) -> None:
    """A wrong fingerprint is refused; the page never shows the right one before it was typed."""
    admin, silo = signed_in(federation, "Root", "hub-admin"), federation.pending_silo()
    assert silo.key is not None
    fingerprint = key_fingerprint(public_key_text(silo.key.public_key()))
    assert fingerprint not in admin.get("/admin/silos").text
    place = f"/admin/silos/{silo.silo_id}"
    assert admin.send(f"{place}/approve", {"fingerprint": "0" * 32}).status_code == 409
    assert silo.get("/silo/associations").status_code == 403
    assert admin.send(f"{place}/approve", {"fingerprint": fingerprint}).status_code == 303
    assert silo.get("/silo/associations").status_code == 200
    assert admin.send(f"{place}/suspend").status_code == 303
    assert silo.get("/silo/associations").status_code == 403
    assert admin.send(f"{place}/reinstate").status_code == 303
    assert admin.send(f"{place}/explode").status_code == 404
    code = admin.send("/admin/silos", {"name": "St. New", "organisation": "New Hospital"}).text
    assert "One-time code for St. New" in code


@pytest.mark.parametrize("role", ["reader", "researcher", "benchmark-owner", "data-steward"])
def test_nobody_else_administers(federation: Federation, role: str) -> None:
    """Neither sees nor does."""
    browser = signed_in(federation, "Ada", role)
    assert {browser.get(path).status_code for path in ("/admin/people", "/admin/silos")} == {403}
    assert browser.send("/admin/people", {"name": "x", "organisation": "y", "roles": "reader"}).status_code == 403
    assert "/admin/" not in browser.get("/dashboard").text


def test_a_benchmark_owner_decides_on_the_dashboard(federation: Federation) -> None:
    """What waits is shown to whoever may decide it, and to nobody else."""
    owner = signed_in(federation, "Owner", "benchmark-owner", organisation="Hub operator")
    federation.publish(auto_approve_models=False)
    ada = federation.researcher("Ada")
    assert ada.submit(bundle_bytes(), name="Waiting model").status_code == 201
    stranger = signed_in(federation, "Stranger", "researcher", organisation="Elsewhere")
    assert "Waiting model" in owner.get("/dashboard").text
    assert "Waiting model" not in stranger.get("/dashboard").text
    association = ada.get("/associations").get_json()["associations"][0]["association_id"]
    assert stranger.send(f"/dashboard/associations/{association}", {"approve": "true"}).status_code == 404
    assert owner.send(f"/dashboard/associations/{association}", {"approve": "true"}).status_code == 303
    assert ada.get("/associations").get_json()["associations"][0]["state"] == "approved"


def test_the_trail_is_filtered_and_given_as_csv(federation: Federation) -> None:
    """By who, what, whom and when; a page has a next one."""
    federation.silo()
    admin = signed_in(federation, "Root", "hub-admin")
    page = admin.get("/audit?action=silo.")
    assert "silo.approve" in page.text
    assert "person.add" not in page.text
    rows = list(csv.DictReader(io.StringIO(admin.get("/audit.csv?action=silo.").text)))
    assert {row["action"] for row in rows} == {"silo.invite", "silo.enrol", "silo.approve"}
    assert admin.get("/audit?since=tomorrow").status_code == 422
    assert "No line fits" in admin.get("/audit?since=2199-01-01").text
    assert "No line fits" in admin.get("/audit?action=%25").text, "a percent sign is a percent sign"
    seen: list[int] = []
    cursor = None
    while True:
        found = federation.admin.get("/audit", limit=3, **({"cursor": cursor} if cursor else {})).get_json()
        seen += [line["number"] for line in found["entries"]]
        cursor = found["next"]
        if cursor is None:
            break
    with federation.services.database.reading() as session:
        assert seen == list(session.scalars(select(AuditEntry.id).order_by(AuditEntry.id.desc())))


def test_a_steward_reads_the_own_organisation_s_lines_only(federation: Federation) -> None:
    """What others did to others is not theirs to know."""
    mine, other = federation.silo("St. Mine"), federation.silo("St. Other")
    steward = federation.person("Steward", "data-steward", organisation="St. Mine Hospital")
    subjects = {line["subject"] for line in steward.get("/audit").get_json()["entries"]}
    assert mine.silo_id in subjects
    assert other.silo_id not in subjects
    assert federation.researcher().get("/audit").status_code == 403


@pytest.mark.parametrize("cursor", ["x", "bm9uc2Vuc2U", "W10", "WyJhIiwgImIiXQ", "W3RydWVd", "W251bGxd", "Wy0xXQ"])
def test_a_cursor_nobody_gave_is_refused(federation: Federation, cursor: str) -> None:
    """As malformed, whatever it holds."""
    answer = federation.admin.get("/audit", cursor=cursor)
    assert (answer.status_code, answer.get_json()["fields"]) == (422, ["cursor"])


def test_the_operator_reads_the_trail_on_the_machine(federation: Federation) -> None:
    """The filters of the page, all lines where asked for, as text, CSV and JSON."""
    silo = federation.silo()
    home = str(federation.services.config.home)

    def audit(*arguments: str) -> str:
        result = CliRunner().invoke(hub_command, ["--home", home, "audit", *arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    lines = json.loads(audit("--action", "silo.", "--json"))["entries"]
    assert [line["action"] for line in lines] == ["silo.approve", "silo.enrol", "silo.invite"]
    assert json.loads(audit("--action", "silo.", "--limit", "2", "--json"))["entries"] == lines[:2]
    assert {line["subject"] for line in json.loads(audit("--subject", silo.silo_id, "--json"))["entries"]} == {
        silo.silo_id
    }
    assert "No line fits" in audit("--until", "2001-01-01")
    text = audit("--action", "silo.approve")
    assert f"silo.approve          {silo.silo_id}  pending > active" in text
    with federation.services.database.reading() as session:
        numbers = list(session.scalars(select(AuditEntry.id).order_by(AuditEntry.id.desc())))
    rows = list(csv.DictReader(io.StringIO(audit("--csv", "--limit", "0"))))
    assert [int(row["number"]) for row in rows] == numbers
    with pytest.raises(BadInput):
        audit("--csv", "--json")
