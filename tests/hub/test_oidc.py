"""Signing in with an institution's identity, against a real OpenID Connect provider."""

import base64
import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from sqlalchemy import select
from werkzeug.test import TestResponse

from federation_hub.accounts.tables import PersonIdentity
from federation_hub.app import build_services, create_app
from federation_hub.config import HubConfig
from tests.hub.browsing import Visitor, identifier, invited, signed_in, visitor
from tests.hub.federation import Caller, Federation
from tests.hub.provider import Provider, running_provider

# The provider is built on an older interface of Authlib; the hub is not.
pytestmark = pytest.mark.filterwarnings(
    "ignore::authlib.deprecate.AuthlibDeprecationWarning", "ignore:get_jwt_config:DeprecationWarning"
)


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """The provider, shared by all tests of this module."""
    with running_provider() as running:
        yield running


@pytest.fixture
def hub(provider: Provider, migrated_home: Path, tmp_path: Path) -> Iterator[Federation]:
    """A hub that trusts that provider."""
    home = tmp_path / "hub"
    shutil.copytree(migrated_home, home)
    (home / "oidc-secret").write_text("a secret\n")
    config = HubConfig(home=home, oidc_issuer=provider.issuer, oidc_client_id="medsilo-hub", oidc_name="University")
    services = build_services(config)
    app = create_app(config, services=services)
    provider.asked.clear()
    provider.nonce_lie = None
    yield Federation(app, Caller(app.test_client(), config.admin_token_path.read_text().strip()))
    services.database.close()


def at_the_provider(answer: TestResponse, subject: str) -> str:
    """Type who one is on the provider's page, and return the path the browser is sent back to."""
    assert answer.status_code == 303, answer.text
    done = requests.post(answer.headers["Location"], data={"sub": subject}, allow_redirects=False, timeout=60)
    back = urlsplit(done.headers["Location"])
    return f"{back.path}?{back.query}"


def come_in(browser: Visitor, subject: str, query: str = "") -> TestResponse:
    """Go to the provider and back."""
    return browser.get(at_the_provider(browser.get(f"/sign-in/oidc{query}"), subject))


def test_an_invitation_links_an_identity_that_signs_in_afterwards(hub: Federation) -> None:
    """Once; then without the invitation, and from any browser."""
    code = invited(hub, "Ada", "researcher")
    browser = visitor(hub.app)
    assert "Use University" in browser.get(f"/join?code={code}").text
    assert come_in(browser, "subject-ada", f"?code={code}").status_code == 303
    assert "subject-ada" in browser.get("/account").text
    assert visitor(hub.app).get(f"/sign-in/oidc?code={code}").status_code == 403
    again = visitor(hub.app)
    assert come_in(again, "subject-ada", "?next=/studies").headers["Location"] == "/studies"
    assert "Ada" in again.get("/account").text


def test_the_flow_has_state_nonce_and_pkce_and_asks_for_no_address(hub: Federation, provider: Provider) -> None:
    """The verifier that reaches the token endpoint is the one whose SHA-256 went ahead (RFC 7636)."""
    come_in(visitor(hub.app), "somebody")
    sent, exchanged = provider.asked["/oauth2/authorize"], provider.asked["/oauth2/token"]
    assert {"state", "nonce", "code_challenge"} <= set(sent)
    assert (sent["scope"], sent["code_challenge_method"]) == ("openid", "S256")
    digest = hashlib.sha256(exchanged["code_verifier"].encode()).digest()
    assert sent["code_challenge"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_subject_nobody_is_linked_to_gets_nothing(hub: Federation) -> None:
    """Not even where it is called like a person here: the provider's word is about its subjects only."""
    signed_in(hub, "Ada", "researcher")
    stranger = visitor(hub.app)
    answer = come_in(stranger, "Ada")
    assert answer.status_code == 403
    assert "identity-unknown" in answer.text
    assert stranger.get("/account").status_code == 303


def test_a_signed_in_person_links_and_unlinks(hub: Federation) -> None:
    """What is somebody else's is refused; the only way in is kept."""
    ada, bo = signed_in(hub, "Ada", "researcher"), signed_in(hub, "Bo", "researcher")
    assert come_in(ada, "subject-x", "?link=yes").status_code == 303
    assert come_in(bo, "subject-x", "?link=yes").status_code == 409
    with hub.services.database.reading() as session:
        row = session.scalars(select(PersonIdentity)).one()
    assert row.person_id == identifier(hub, "Ada")
    assert bo.send(f"/account/identities/{row.id}/unlink").status_code == 404
    assert ada.send(f"/account/identities/{row.id}/unlink").status_code == 303
    assert come_in(visitor(hub.app), "subject-x").status_code == 403
    code = invited(hub, "Cy", "reader")
    cy = visitor(hub.app)
    come_in(cy, "subject-cy", f"?code={code}")
    with hub.services.database.reading() as session:
        only = session.scalars(select(PersonIdentity.id)).one()
    assert cy.send(f"/account/identities/{only}/unlink").status_code == 409


def test_an_answer_for_another_browser_or_a_second_time_is_refused(hub: Federation) -> None:
    """Whoever is led to an attacker's callback is not signed in as the attacker."""
    code = invited(hub, "Eve", "reader")
    attacker, victim = visitor(hub.app), visitor(hub.app)
    come_in(attacker, "subject-eve", f"?code={code}")
    callback = at_the_provider(attacker.get("/sign-in/oidc"), "subject-eve")
    assert victim.get(callback).status_code == 502
    assert victim.get("/account").status_code == 303
    assert attacker.get(callback).status_code == 502, "a state is good for one answer"
    journey = at_the_provider(victim.get("/sign-in/oidc"), "subject-eve")
    other = parse_qs(urlsplit(journey).query)["code"][0]
    assert victim.get(f"/sign-in/oidc/callback?state=made-up&code={other}").status_code == 502


def test_a_token_with_another_nonce_is_refused(hub: Federation, provider: Provider) -> None:
    """It was made for another request."""
    code = invited(hub, "Ada", "researcher")
    provider.nonce_lie = "another"
    assert come_in(visitor(hub.app), "subject-ada", f"?code={code}").status_code == 502
    provider.nonce_lie = None
    assert come_in(visitor(hub.app), "subject-ada", f"?code={code}").status_code == 303, "nothing was spent"


def test_a_provider_that_refuses_or_is_away_signs_nobody_in(hub: Federation, provider: Provider) -> None:
    """And the hub says that it was the provider."""
    browser = visitor(hub.app)
    begun = browser.get("/sign-in/oidc").headers["Location"]
    state = parse_qs(urlsplit(begun).query)["state"][0]
    assert browser.get(f"/sign-in/oidc/callback?state={state}&error=access_denied").status_code == 502
    away = HubConfig(home=hub.services.config.home, oidc_issuer="http://127.0.0.1:9", oidc_client_id="x")
    elsewhere = create_app(away, services=replace(hub.services, config=away))
    assert visitor(elsewhere).get("/sign-in/oidc").status_code == 502


def test_without_a_provider_there_is_no_such_door(federation: Federation) -> None:
    """Neither a link nor an address."""
    browser = visitor(federation.app)
    assert "oidc" not in browser.get("/sign-in").text
    assert browser.get("/sign-in/oidc").status_code == 404
