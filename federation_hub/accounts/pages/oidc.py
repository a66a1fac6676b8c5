"""Signing in with the institution's identity provider (OpenID Connect)."""

from typing import TYPE_CHECKING

from flask import Blueprint, current_app, make_response, redirect, request
from flask.blueprints import BlueprintSetupState
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts import browser, identities, invitations
from federation_hub.accounts.actors import ANONYMOUS
from federation_hub.accounts.browser import read_form, signed_in
from federation_hub.accounts.identities import Purpose, come_back, person_for, set_out
from federation_hub.accounts.pages.forms import Nothing
from federation_hub.accounts.pages.sign_in import begin_session
from federation_hub.accounts.tokens import token_hash
from federation_hub.api import current_actor
from federation_hub.db import now
from federation_hub.services import services
from silo_node.wire.errors import MedSiloError

if TYPE_CHECKING:
    from federation_hub.accounts.identity_provider import IdentityProvider

EXTENSION = "medsilo.identity-provider"
CALLBACK = "/sign-in/oidc/callback"
blueprint = Blueprint("oidc", __name__)


@blueprint.get("/sign-in/oidc")
def leave() -> AnyResponse:
    """Send the browser to the provider: to sign in, with an invitation's code, or to link the own account."""
    if services().config.identity_provider is None:
        raise MedSiloError("not-found")
    purpose = _purpose()
    with services().database.session() as session:
        journey = set_out(session, purpose, now())
    url = _provider().authorization_url(
        redirect_uri=browser.here() + CALLBACK, state=journey.state, nonce=journey.nonce, verifier=journey.verifier
    )
    response = make_response(redirect(url, 303))
    browser.give_cookie(response, "journey", journey.browser, identities.JOURNEY.total_seconds())
    return browser.private(response)


@blueprint.get(CALLBACK)
def come_in() -> AnyResponse:
    """Take the browser back from the provider, verify what it brings, and begin a session."""
    answer, hub = request.args, services()
    with hub.database.session() as session:
        found = come_back(
            session, answer.get("state", "")[:200], request.cookies.get(browser.cookie_name("journey")), now()
        )
    if found is None or "code" not in answer or answer.get("iss", hub.config.oidc_issuer) != hub.config.oidc_issuer:
        raise MedSiloError("identity-provider-failed")
    journey, purpose = found
    if purpose.person_id is not None and browser.visitor().id != purpose.person_id:
        raise MedSiloError("not-authenticated")
    who = _provider().subject(
        code=answer["code"], redirect_uri=browser.here() + CALLBACK, nonce=journey.nonce, verifier=journey.verifier
    )
    with hub.database.session() as session:
        person = person_for(session, purpose, who.issuer, who.subject, now())
    response = make_response(begin_session(person.id, "openid-connect", purpose.next))
    browser.take_cookie(response, "journey")
    return response


@signed_in(blueprint, "POST", "/account/identities/<identity_id>/unlink")
def unlink(identity_id: str) -> AnyResponse:
    """Forget one of the own identities."""
    read_form(Nothing)
    with services().database.session() as session:
        identities.unlink(session, identity_id, actor=current_actor())
    return redirect("/account", 303)


def _purpose() -> Purpose:
    code, goal = request.args.get("code"), browser.safe_next(request.args.get("next"))
    if code is not None:
        hashed = token_hash(code[:80])
        with services().database.reading() as session:
            invitations.invited(session, hashed, now())
        return Purpose(goal, invitation=hashed)
    if "link" in request.args:
        actor = browser.visitor()
        if actor is ANONYMOUS:
            raise MedSiloError("not-authenticated")
        return Purpose("/account", person_id=actor.id)
    return Purpose(goal)


def _provider() -> "IdentityProvider":
    found: list[IdentityProvider] = current_app.extensions[EXTENSION]
    if not found:
        from federation_hub.accounts.identity_provider import provider_of

        found.append(provider_of(services().config))
    return found[0]


def _set_up(setup: BlueprintSetupState) -> None:
    setup.app.extensions[EXTENSION] = []


blueprint.record(_set_up)
