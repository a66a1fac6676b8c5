"""The door: signing in and out, and exchanging a one-time link for a password."""

from flask import Blueprint, Response, make_response, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts import browser, invitations, sessions
from federation_hub.accounts.actors import ANONYMOUS
from federation_hub.accounts.door import guessed_wrong, require_patience
from federation_hub.accounts.pages.forms import Joining, Nothing, SignIn
from federation_hub.accounts.passwords import hash_password, is_password
from federation_hub.accounts.service import password_of, person_named, set_password
from federation_hub.accounts.tables import Person
from federation_hub.accounts.tokens import token_hash
from federation_hub.db import now
from federation_hub.errors import problem
from federation_hub.services import services
from federation_hub.web.rendering import page
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("sign_in", __name__)


@blueprint.get(browser.SIGN_IN)
def sign_in_page() -> AnyResponse:
    """Ask for name and password, unless somebody is signed in already."""
    goal = browser.safe_next(request.args.get("next"))
    return redirect(goal, 303) if browser.visitor() is not ANONYMOUS else _door(goal)


@blueprint.post(browser.SIGN_IN)
def sign_in() -> AnyResponse:
    """Check name and password and begin a session."""
    browser.require_own_form()
    form = browser.read_form(SignIn)
    require_patience(form.name)
    hub, goal = services(), browser.safe_next(form.next)
    with hub.database.reading() as session:
        person = person_named(session, form.name)
        kept = password_of(session, person)
    # Not inside a transaction: it takes a tenth of a second on purpose.
    if not is_password(kept, form.password) or person is None:
        guessed_wrong(form.name)
        return _door(goal, "sign-in-failed")
    return begin_session(person.id, "password", goal)


@blueprint.post("/sign-out")
def sign_out() -> AnyResponse:
    """End this browser's session."""
    browser.require_own_form()
    browser.read_form(Nothing)
    with services().database.session() as session:
        sessions.end(session, browser.cookie())
    response = redirect("/", 303)
    browser.take_cookie(make_response(response), "session")
    response.headers["Clear-Site-Data"] = '"cache"'
    return response


@blueprint.get("/join")
def join_page() -> Response:
    """Ask for a first password, for whoever holds a one-time link."""
    code = request.args.get("code", "")[:80]
    with services().database.reading() as session:
        person = invitations.invited(session, token_hash(code), now())
    return _joining(code, person.name)


@blueprint.post("/join")
def join() -> AnyResponse:
    """Exchange a one-time code for a password, and sign in."""
    browser.require_own_form()
    form = browser.read_form(Joining)
    hub, hashed = services(), token_hash(form.code)
    with hub.database.reading() as session:
        person = invitations.invited(session, hashed, now())
    if form.password != form.again:
        return _joining(form.code, person.name, "The two passwords differ", "Type the same one twice.")
    try:
        kept = hash_password(form.password, person.name)
    except MedSiloError as error:
        return _joining(form.code, person.name, error.title, error.hint)
    with hub.database.session() as session:
        found = invitations.spend(session, hashed, now())
        set_password(session, found, kept, actor=sessions.person_actor(found))
    return begin_session(person.id, "password", browser.HOME)


def begin_session(person_id: str, how: str, goal: str) -> AnyResponse:
    """Sign a person in and lead the browser on."""
    hub = services()
    with hub.database.session() as session:
        person = session.get_one(Person, person_id)
        value = sessions.begin(session, person, replaces=browser.cookie(), how=how, at=now())
    response = make_response(redirect(goal, 303))
    browser.give_cookie(response, "session", value, hub.config.session_hours * 3600)
    return browser.private(response)


def _door(goal: str, refusal: str | None = None) -> Response:
    wrong, provider = problem(refusal) if refusal else None, services().config.identity_provider
    text = page("account/sign_in.html", next=goal, wrong=wrong, provider=provider)
    return browser.private(make_response(text, wrong.status if wrong else 200))


def _joining(code: str, name: str, wrong: str = "", hint: str = "") -> Response:
    provider = services().config.identity_provider
    text = page("account/join.html", code=code, name=name, wrong=wrong, hint=hint, provider=provider)
    return browser.private(make_response(text, 422 if wrong else 200))
