"""One decorator for every page behind the door: who is signed in, whether they may, and that no other site asks.

::

    @signed_in(blueprint, "POST", "/admin/silos/<silo_id>/approve", roles={"hub-admin"})
    def approve(silo_id: str) -> Response: ...

The view finds who asks with ``current_actor()``, as the API's routes do. Whoever is not signed in is led to the door
and back. A form counts only if the browser itself says that the page it stood on was ours (``Sec-Fetch-Site`` or
``Origin``, which no page can forge); the cookie is ``SameSite=Lax`` besides.
"""

from collections.abc import Callable, Set
from functools import wraps
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

from flask import Blueprint, Response, g, make_response, redirect, request
from pydantic import BaseModel, ValidationError
from werkzeug.wrappers import Response as AnyResponse

from federation_hub.accounts import sessions
from federation_hub.accounts.actors import ANONYMOUS, Actor
from federation_hub.accounts.sessions import Lifetime
from federation_hub.api import PERSON
from federation_hub.db import now
from federation_hub.errors import MalformedMessage, declared_fields
from federation_hub.services import services
from silo_node.wire.errors import MedSiloError

FORM_BYTES = 64 * 1024
SIGN_IN = "/sign-in"
HOME = "/dashboard"
"""Where one is after signing in."""

View = TypeVar("View", bound=Callable[..., Any])
M = TypeVar("M", bound=BaseModel)


def signed_in(blueprint: Blueprint, method: str, path: str, *, roles: Set[str] = PERSON) -> Callable[[View], View]:
    """Register a page for signed-in people with any of these roles; see the module's docstring."""

    def register(view: View) -> View:
        @wraps(view)
        def handle(**parameters: str) -> AnyResponse:
            g.actor = visitor()
            if g.actor is ANONYMOUS:
                if method == "GET":
                    return redirect(f"{SIGN_IN}?next={quote(request.full_path.rstrip('?'), safe='/')}", 303)
                raise MedSiloError("not-authenticated")
            if not g.actor.may(frozenset(roles)):
                raise MedSiloError("not-permitted")
            if method != "GET":
                require_own_form()
            return private(make_response(view(**parameters)))

        handle.page_roles = frozenset(roles)  # type: ignore[attr-defined]
        blueprint.add_url_rule(path, f"{method.lower()}_{view.__name__}", handle, methods=[method])
        return view

    return register


def visitor() -> Actor:
    """Return who is signed in with this request's cookie, or ``ANONYMOUS``; a page may ask without being guarded."""
    value = cookie()
    if not value:
        return ANONYMOUS
    hub, at = services(), now()
    with hub.database.reading() as session:
        actor = sessions.find(session, value, Lifetime.of(hub.config), at)
        due = actor is not None and sessions.worth_noting(session, value, at)
    if due:
        with hub.database.session() as session:
            sessions.note(session, value, at)
    return actor or ANONYMOUS


def require_own_form() -> None:
    """Refuse a form unless the browser says that it stood on a page of ours."""
    request.max_content_length = FORM_BYTES
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    ours = site in ("same-origin", "none") if site is not None else _is_here(origin)
    if not ours:
        raise MedSiloError("not-permitted")


def read_form(kind: type[M], *, several: Set[str] = frozenset()) -> M:
    """Return the form of this request as a message; a field of ``several`` is a list of all its values."""
    values: dict[str, Any] = {
        name: request.form.getlist(name) if name in several else request.form[name] for name in request.form
    }
    for name in several - set(values):
        values[name] = []
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise MalformedMessage(fields=declared_fields(error, kind)) from None


def cookie() -> str | None:
    """Return the value of the session's cookie."""
    return request.cookies.get(cookie_name("session"))


def cookie_name(name: str) -> str:
    """Return a cookie's name; with https the browser itself sees to it that only this host set it."""
    return f"__Host-medsilo-{name}" if _over_https() else f"medsilo-{name}"


def give_cookie(response: Response, name: str, value: str, seconds: float | None = None) -> None:
    """Give the browser a cookie that no script reads and no other site's form sends."""
    age = None if seconds is None else int(seconds)
    response.set_cookie(
        cookie_name(name), value, max_age=age, secure=_over_https(), httponly=True, samesite="Lax", path="/"
    )


def take_cookie(response: Response, name: str) -> None:
    """Take a cookie back."""
    response.delete_cookie(cookie_name(name), secure=_over_https(), httponly=True, samesite="Lax", path="/")


def private(response: Response) -> Response:
    """Let nobody keep a page that was made for one person."""
    response.headers["Cache-Control"] = "no-store"
    response.vary.add("Cookie")
    return response


def here() -> str:
    """Return the address under which browsers reach this hub, without a closing slash."""
    return services().config.public_url or request.host_url.rstrip("/")


def safe_next(path: str | None) -> str:
    """Return where to go after signing in: a path of this hub, never another place."""
    if not path or not path.startswith("/") or path.startswith("//") or len(path) > 400:
        return HOME
    return HOME if "\\" in path or any(ord(letter) < 32 for letter in path) else path


def _is_here(origin: str | None) -> bool:
    parts = urlsplit(origin or "")
    return parts.netloc != "" and parts.netloc in (request.host, urlsplit(services().config.public_url or "").netloc)


def _over_https() -> bool:
    return request.is_secure or (services().config.public_url or "").startswith("https://")
