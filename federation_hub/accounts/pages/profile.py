"""One's own account: who one is here, the password, the sessions, and tokens for programs."""

from datetime import timedelta

from flask import Blueprint, make_response, redirect
from sqlalchemy import select
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts import browser, sessions
from federation_hub.accounts.browser import read_form, signed_in
from federation_hub.accounts.door import guessed_wrong, require_patience
from federation_hub.accounts.pages.forms import NewPassword, NewToken, Nothing
from federation_hub.accounts.passwords import hash_password, is_password
from federation_hub.accounts.service import own_token, password_of, person_of_id, revoke_own, set_password
from federation_hub.accounts.sessions import Lifetime
from federation_hub.accounts.tables import Organisation, PersonIdentity, Token
from federation_hub.accounts.views import tokens_in_force
from federation_hub.api import current_actor
from federation_hub.db import now
from federation_hub.paging import page as listed
from federation_hub.services import services
from federation_hub.web.lists import asked_page
from federation_hub.web.rendering import page
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("profile", __name__)


@signed_in(blueprint, "GET", "/account")
def account() -> str:
    """Show who is signed in, and what they may do."""
    return _profile()


@signed_in(blueprint, "POST", "/account/password")
def change_password() -> AnyResponse:
    """Set another password; every other browser is signed out."""
    form, actor, hub = read_form(NewPassword), current_actor(), services()
    with hub.database.reading() as session:
        person = person_of_id(session, actor.id)
        kept = password_of(session, person)
    require_patience(person.name)
    if not is_password(kept, form.present):
        guessed_wrong(person.name)
        return make_response(_profile(wrong="The present password is not right"), 403)
    if form.password != form.again:
        return make_response(_profile(wrong="The two new passwords differ"), 422)
    try:
        hashed = hash_password(form.password, person.name)
    except MedSiloError as error:
        return make_response(_profile(wrong=error.title), error.status)
    with hub.database.session() as session:
        found = person_of_id(session, actor.id)
        set_password(session, found, hashed, actor=actor, keep=browser.cookie())
    return redirect("/account", 303)


@signed_in(blueprint, "POST", "/account/sign-out-everywhere")
def sign_out_everywhere() -> AnyResponse:
    """End every session of this person, this browser's too."""
    read_form(Nothing)
    with services().database.session() as session:
        sessions.end_all(session, current_actor().id, current_actor())
    response = make_response(redirect("/", 303))
    browser.take_cookie(response, "session")
    return response


@signed_in(blueprint, "GET", "/account/tokens")
def tokens() -> str:
    """List one's tokens and offer to make one."""
    return _tokens()


@signed_in(blueprint, "POST", "/account/tokens")
def make_token() -> str:
    """Make a token and show it, this once."""
    form, actor = read_form(NewToken, several={"scopes"}), current_actor()
    with services().database.session() as session:
        row, token = own_token(session, actor, form.scopes, timedelta(days=form.days), form.name)
        expires = row.expires
    return _tokens(fresh=token, expires=expires, name=form.name)


@signed_in(blueprint, "POST", "/account/tokens/<token_id>/revoke")
def revoke_token(token_id: str) -> AnyResponse:
    """Let a token work no longer."""
    read_form(Nothing)
    with services().database.session() as session:
        revoke_own(session, current_actor(), token_id)
    return redirect("/account/tokens", 303)


def _profile(wrong: str = "") -> str:
    hub, actor = services(), current_actor()
    with hub.database.reading() as session:
        person = person_of_id(session, actor.id)
        identities = session.scalars(select(PersonIdentity).where(PersonIdentity.person_id == person.id)).all()
        return page(
            "account/profile.html",
            person=person,
            organisation=session.get_one(Organisation, person.organisation_id).name,
            has_password=password_of(session, person) is not None,
            identities=identities,
            browsers=sessions.running(session, person.id, Lifetime.of(hub.config), now()),
            provider=hub.config.identity_provider,
            wrong=wrong,
        )


def _tokens(fresh: str | None = None, **facts: object) -> str:
    actor = current_actor()
    with services().database.reading() as session:
        own = tokens_in_force(actor.id, now())
        found = listed(session, own, asked_page(), Token.created, Token.id, newest_first=True)
    return page(
        "account/tokens.html", tokens=found.rows, next=found.next, roles=sorted(actor.roles), fresh=fresh, facts=facts
    )
