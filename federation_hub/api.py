"""One decorator for every JSON route: it authenticates, checks the role, parses strictly, answers, and documents.

::

    @route(blueprint, "POST", "/tasks/claim", body=ClaimRequest, returns=ClaimAnswer, roles={"silo"})
    def claim(body: ClaimRequest) -> ClaimAnswer: ...

The view gets path parameters by name, the parsed message as ``body`` and the parsed query string as ``query``. It
returns a message (serialised as declared), ``None`` (204) or a ready ``Response``. ``roles=None`` is public.
"""

from collections.abc import Callable, Set
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar

from flask import Blueprint, Response, g, request
from pydantic import BaseModel, ValidationError

from federation_hub.accounts.actors import ANONYMOUS, Actor
from federation_hub.accounts.authentication import authenticate
from federation_hub.errors import MalformedMessage, declared_code, declared_fields
from federation_hub.intake.bodies import note_body, seen
from federation_hub.services import services
from federation_hub.silos.keys import require_proof
from silo_node.wire.canonical import parse_object
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import MedSiloError, WireError
from silo_node.wire.proof import PROOF_HEADER
from silo_node.wire.versions import HEADER, SUPPORTED

SILO = frozenset({"silo"})
PERSON = frozenset({"reader", "researcher", "benchmark-owner", "data-steward", "hub-admin"})
_PUBLIC_BYTES = 64 * 1024
View = TypeVar("View", bound=Callable[..., Any])
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True)
class Operation:
    """A route as the OpenAPI document tells it."""

    method: str
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    returns: type[BaseModel] | None
    status: int
    roles: frozenset[str] | None
    sends_bytes: bool
    returns_bytes: bool
    form: type[BaseModel] | None
    refusal: type[BaseModel] | None


def route(
    blueprint: Blueprint,
    method: str,
    path: str,
    *,
    body: type[BaseModel] | None = None,
    query: type[BaseModel] | None = None,
    returns: type[BaseModel] | None = None,
    status: int = 200,
    roles: Set[str] | None = None,
    inactive_silos: bool = False,
    sends_bytes: bool = False,
    returns_bytes: bool = False,
    form: type[BaseModel] | None = None,
    refusal: type[BaseModel] | None = None,
) -> Callable[[View], View]:
    """Register a view; see the module's docstring. ``inactive_silos`` lets pending and suspended silos in, too.

    A view with a ``form`` reads it by itself, and refuses it with a ``refusal`` and status 400.
    """
    operation = Operation(
        method=method,
        body=body,
        query=query,
        returns=returns,
        status=204 if returns is None and not returns_bytes else status,
        roles=None if roles is None else frozenset(roles),
        sends_bytes=sends_bytes,
        returns_bytes=returns_bytes,
        form=form,
        refusal=refusal,
    )

    def register(view: View) -> View:
        @wraps(view)
        def handle(**parameters: str) -> Response:
            _admit(operation, inactive_silos=inactive_silos)
            arguments: dict[str, Any] = dict(parameters)
            try:
                if body is not None:
                    arguments["body"] = _parse_body(body, public=roles is None)
                    # Before anything comes of it: a hub that is killed in between has not done what it never noted.
                    note_body(current_actor())
                if query is not None:
                    arguments["query"] = _parse_query(query)
                return _answer(view(**arguments), operation)
            finally:
                note_body(current_actor())

        handle.operation = operation  # type: ignore[attr-defined]
        blueprint.add_url_rule(path, f"{method.lower()}_{view.__name__}", handle, methods=[method])
        return view

    return register


def current_actor() -> Actor:
    """Return who makes this request."""
    actor: Actor = g.get("actor", ANONYMOUS)
    return actor


def _parse_body(kind: type[B], *, public: bool) -> B:
    # Nobody without a token makes the hub hold a large body.
    request.max_content_length = _PUBLIC_BYTES if public else services().config.maximum_message_bytes
    data = request.get_data(cache=False)
    seen(data)
    try:
        parse_object(data)
    except (ValueError, RecursionError) as error:
        raise WireError("body-not-json") from error
    try:
        message = kind.model_validate_json(data)
    except ValidationError as error:
        raise MalformedMessage(declared_code(error), fields=declared_fields(error, kind)) from None
    _require_fresh(kind, data)
    return message


def _require_fresh(kind: type[BaseModel], data: bytes) -> None:
    """Where a silo hands in a signed statement, let nobody hand it in who has only recorded it."""
    if kind is Envelope and current_actor().kind == "silo":
        header = request.headers.get(PROOF_HEADER)
        require_proof(services().database, current_actor().id, header, request.method, request.path, data)


def _parse_query(kind: type[B]) -> B:
    # Text is all a query string has, so it is read leniently; unknown names are refused all the same.
    values = request.args.to_dict(flat=True)
    try:
        return kind.model_validate_strings(values)
    except ValidationError as error:
        raise MalformedMessage(fields=declared_fields(error, kind)) from None


def _admit(operation: Operation, *, inactive_silos: bool) -> None:
    g.actor = authenticate(services().database, request.headers.get("Authorization"))
    if operation.roles is None:
        return
    actor = current_actor()
    if actor.kind == "anonymous":
        raise MedSiloError("not-authenticated")
    if actor.kind == "silo":
        _speak_common_version()
        if not actor.roles and not inactive_silos:
            raise MedSiloError("silo-not-active")
        if "silo" in operation.roles:
            return
    if not actor.may(operation.roles):
        raise MedSiloError("not-permitted")


def _speak_common_version() -> None:
    text = request.headers.get(HEADER, "")
    if not text.isdecimal() or int(text) not in SUPPORTED:
        raise WireError("wire-version-unsupported")


def _answer(value: Any, operation: Operation) -> Response:
    if isinstance(value, Response):
        return value
    if value is None:
        return Response(status=204)
    return Response(value.model_dump_json(), status=operation.status, mimetype="application/json")
