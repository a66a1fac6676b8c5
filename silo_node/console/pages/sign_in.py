"""Signing in with a one-time link or a password, and signing out."""

from flask import Blueprint, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from silo_node.console.desk import desk
from silo_node.console.guard import COOKIE
from silo_node.console.sessions import LONGEST_SECONDS
from silo_node.wire.errors import MedSiloError, PolicyRefusal

blueprint = Blueprint("sign_in", __name__)


@blueprint.get("/sign-in")
def form() -> AnyResponse:
    """Show the form; a link's key only fills it in, so that nothing which opens links by itself spends it."""
    key = request.args.get("key", "")
    person = desk().people.owner(key) if key else None
    if key and person is None:
        raise PolicyRefusal("console-link-spent")
    view = {"key": key, "person": person, "next": _local(request.args.get("next")), "wrong": None}
    return make_response(render_template("sign_in.html", **view, passwords=bool(desk().people.names())))


@blueprint.post("/sign-in")
def enter() -> AnyResponse:
    """Spend the link or check the password."""
    after = _local(request.form.get("next"))
    key = request.form.get("key", "")
    try:
        person = _by_link(key) if key else _by_password()
    except MedSiloError as error:
        view = {"key": "", "person": None, "next": after, "wrong": error}
        return make_response(render_template("sign_in.html", **view, passwords=True), error.status)
    response = redirect(after, 303)
    response.set_cookie(
        # Not Secure: there is no TLS on 127.0.0.1, and what cannot leave this machine cannot be listened to.
        COOKIE,
        desk().sessions.begin(person),
        max_age=int(LONGEST_SECONDS),
        httponly=True,
        samesite="Strict",
    )
    return response


@blueprint.post("/sign-out")
def leave() -> AnyResponse:
    """End the session."""
    desk().sessions.end(request.cookies.get(COOKIE))
    response = redirect("/sign-in", 303)
    response.delete_cookie(COOKIE, httponly=True, samesite="Strict")
    return response


def _by_link(key: str) -> str:
    person = desk().people.use_link(key)
    if person is None:
        raise PolicyRefusal("console-link-spent")
    return person


def _by_password() -> str:
    name, password = request.form.get("name", "").strip(), request.form.get("password", "")
    if not desk().sessions.may_try():
        raise PolicyRefusal("console-login-paused")
    if not desk().people.knows(name, password):
        desk().sessions.failed()
        raise PolicyRefusal("console-login-failed")
    return name


def _local(path: str | None) -> str:
    """Return a path of this console; anything that could lead elsewhere becomes the first page."""
    return path if path and path.startswith("/") and not path.startswith(("//", "/\\")) else "/"
