"""The device flow: what a program may ask, how often, and who decides."""

from datetime import timedelta

import pytest
from werkzeug.test import TestResponse

from federation_hub.accounts import devices
from federation_hub.accounts.actors import Actor
from federation_hub.accounts.devices import DeviceRefusal, Granted
from federation_hub.db import now
from silo_node.wire.errors import MedSiloError
from tests.hub.browsing import identifier, signed_in, visitor
from tests.hub.federation import Caller, Federation

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def token_request(federation: Federation, code: str, **changes: str) -> TestResponse:
    """Ask for the token as an OAuth client does."""
    form = {"client_id": "medsilo", "grant_type": GRANT, "device_code": code, **changes}
    return federation.anybody.http.post("/api/v1/oauth/token", data=form)


def begun(federation: Federation, scope: str = "") -> dict[str, str]:
    """Begin the flow and return what the hub told the program."""
    answer = federation.anybody.http.post("/api/v1/oauth/device", data={"client_id": "medsilo", "scope": scope})
    assert answer.status_code == 200, answer.text
    return dict(answer.get_json())


def test_a_program_gets_a_token_once_a_person_approved(federation: Federation) -> None:
    """Once, for the roles the page named, and never with the hub's administration unless it was asked for."""
    told = begun(federation)
    assert told["verification_uri_complete"] == f"{told['verification_uri']}?code={told['user_code']}"
    browser = signed_in(federation, "Ada", "researcher", "hub-admin")
    page = browser.get(f"/device?code={told['user_code']}")
    assert "It will act for you as researcher, for 90 days" in page.text
    assert "connected" in browser.send("/device", {"code": told["user_code"].lower(), "approve": "true"}).text
    answer = token_request(federation, told["device_code"]).get_json()
    assert (answer["token_type"], answer["scope"]) == ("Bearer", "researcher")
    me = Caller(federation.app.test_client(), answer["access_token"]).get("/me").get_json()
    assert (me["name"], me["roles"]) == ("Ada", ["researcher"])
    assert token_request(federation, told["device_code"]).get_json() == {"error": "invalid_grant"}


def test_a_stranger_is_led_to_the_door_first(federation: Federation) -> None:
    """And back to the code afterwards."""
    answer = visitor(federation.app).get("/device?code=BCDF-GHJK")
    assert answer.headers["Location"] == "/sign-in?next=/device%3Fcode%3DBCDF-GHJK"


def test_a_refusal_is_told_to_the_program(federation: Federation) -> None:
    """No token, and the code is good no longer."""
    told = begun(federation)
    browser = signed_in(federation, "Ada", "researcher")
    assert "refused" in browser.send("/device", {"code": told["user_code"], "approve": "false"}).text
    assert token_request(federation, told["device_code"]).get_json() == {"error": "access_denied"}
    assert browser.send("/device", {"code": told["user_code"], "approve": "true"}).status_code == 404


def test_who_asks_too_often_has_to_wait_longer_each_time(federation: Federation) -> None:
    """Five seconds more (RFC 8628, section 3.5); a code that ran out says so."""
    start = now()
    with federation.services.database.session() as session:
        asked = devices.ask(session, [], interval=5, at=start)
        times = (0, 4, 8, 20, 40)
        told = [str(devices.poll(session, asked.device_code, start + timedelta(seconds=time))) for time in times]
        assert told == ["authorization_pending", "slow_down", "slow_down", "slow_down", "authorization_pending"]
        late = devices.poll(session, asked.device_code, asked.expires)
        assert str(late) == "expired_token"


def test_nobody_approves_more_than_they_may(federation: Federation) -> None:
    """A program that asks for a role gets it only from somebody who has it, also at the moment of the token."""
    federation.person("Ada", "researcher")
    ada = Actor("person", identifier(federation, "Ada"), frozenset({"researcher"}))
    start = now()
    with federation.services.database.session() as session:
        asked = devices.ask(session, ["hub-admin"], interval=1, at=start)
        with pytest.raises(MedSiloError, match="scope-too-wide"):
            devices.decide(session, asked.user_code, approve=True, actor=ada, at=start)
        other = devices.ask(session, ["hub-admin", "researcher"], interval=1, at=start)
        devices.decide(session, other.user_code, approve=True, actor=ada, at=start)
        granted = devices.poll(session, other.device_code, start)
        assert isinstance(granted, Granted)
        assert granted.scopes == ("researcher",)
        with pytest.raises(DeviceRefusal, match="invalid_scope"):
            devices.ask(session, ["emperor"], interval=1, at=start)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"client_id": "another"}, "invalid_client"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"device_code": "nonsense"}, "invalid_grant"),
        ({"device_code": "x" * 300}, "invalid_request"),
    ],
)
def test_a_wrong_request_is_refused_in_oauth_s_words(
    federation: Federation, changes: dict[str, str], error: str
) -> None:
    """As RFC 6749 section 5.2 has them."""
    told = begun(federation)
    answer = token_request(federation, told["device_code"], **changes)
    assert (answer.status_code, answer.get_json()) == (400, {"error": error})


def test_codes_of_others_are_not_found_by_trying(federation: Federation) -> None:
    """After five wrong ones a person has to wait."""
    browser = signed_in(federation, "Ada", "researcher")
    for _ in range(5):
        assert browser.send("/device", {"code": "BBBB-BBBB", "approve": "true"}).status_code == 404
    assert browser.send("/device", {"code": "BBBB-BBBB", "approve": "true"}).status_code == 429


def test_the_metadata_leads_to_the_endpoints(federation: Federation) -> None:
    """RFC 8414, for clients that look."""
    found = federation.anybody.http.get("/.well-known/oauth-authorization-server").get_json()
    assert found["token_endpoint"].endswith("/api/v1/oauth/token")
    assert found["grant_types_supported"] == [GRANT]
