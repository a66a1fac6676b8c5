"""The two OAuth endpoints of the device flow, in the formats of RFC 8628 and 6749, and their metadata (RFC 8414).

Any OAuth client that knows the device flow can use them; ``medsilo login`` does. They take forms and refuse with
OAuth's own error object, since that is what such clients read.
"""

from typing import Annotated, TypeVar

from flask import Blueprint, Response, request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation_hub.accounts import devices
from federation_hub.accounts.actors import ROLES
from federation_hub.accounts.browser import here
from federation_hub.accounts.devices import DeviceRefusal
from federation_hub.api import route
from federation_hub.db import now
from federation_hub.services import services
from silo_node.wire.base import Message

CLIENT_ID = "medsilo"
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
DEVICE_PATH, TOKEN_PATH = "/oauth/device", "/oauth/token"
_FORM_BYTES = 16 * 1024
blueprint = Blueprint("oauth", __name__)
metadata = Blueprint("oauth_metadata", __name__)
F = TypeVar("F", bound=BaseModel)
Parameter = Annotated[str, Field(max_length=200)]


class _OAuthForm(BaseModel):
    """Parameters beyond these are ignored, as RFC 6749 section 3.1 asks."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)
    client_id: Parameter


class DeviceForm(_OAuthForm):
    """A program asks for a person's approval (RFC 8628 section 3.1)."""

    scope: Parameter = ""
    """Roles, separated by blanks; without any: all of the person's but administering the hub."""


class TokenForm(_OAuthForm):
    """A program asks whether it was approved (RFC 8628 section 3.4)."""

    grant_type: Parameter
    device_code: Parameter


class DeviceAuthorization(Message):
    """What the program shows and how often it may ask (RFC 8628 section 3.2)."""

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class TokenAnswer(Message):
    """The token (RFC 6749 section 5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str


class OAuthRefusal(Message):
    """Why there is none (RFC 6749 section 5.2, RFC 8628 section 3.5)."""

    error: str


@route(blueprint, "POST", DEVICE_PATH, form=DeviceForm, returns=DeviceAuthorization, refusal=OAuthRefusal)
def ask_for_approval() -> DeviceAuthorization | Response:
    """Begin the device flow: a code for the program and one for the person."""
    form = _form(DeviceForm)
    if form is None or form.client_id != CLIENT_ID:
        return _refused("invalid_request" if form is None else "invalid_client")
    hub = services()
    try:
        with hub.database.session() as session:
            interval = hub.config.device_poll_seconds
            asked = devices.ask(session, form.scope.split(), interval=interval, at=now())
    except DeviceRefusal as refusal:
        return _refused(str(refusal))
    page = f"{here()}/device"
    return DeviceAuthorization(
        device_code=asked.device_code,
        user_code=asked.user_code,
        verification_uri=page,
        verification_uri_complete=f"{page}?code={asked.user_code}",
        expires_in=int(devices.LIFETIME.total_seconds()),
        interval=asked.interval,
    )


@route(blueprint, "POST", TOKEN_PATH, form=TokenForm, returns=TokenAnswer, refusal=OAuthRefusal)
def ask_for_token() -> TokenAnswer | Response:
    """Go on with the device flow: the token, or why there is none yet."""
    form = _form(TokenForm)
    if form is None or form.client_id != CLIENT_ID:
        return _refused("invalid_request" if form is None else "invalid_client")
    if form.grant_type != GRANT:
        return _refused("unsupported_grant_type")
    with services().database.session() as session:
        found = devices.poll(session, form.device_code, now())
    if isinstance(found, DeviceRefusal):
        return _refused(str(found))
    return TokenAnswer(
        access_token=found.token,
        token_type="Bearer",  # noqa: S106 - a kind of token
        expires_in=int(found.lifetime.total_seconds()),
        scope=" ".join(found.scopes),
    )


@metadata.get("/.well-known/oauth-authorization-server")
def authorization_server() -> dict[str, object]:
    """Tell OAuth clients where the endpoints are."""
    api = f"{here()}/api/v1"
    return {
        "issuer": here(),
        "device_authorization_endpoint": api + DEVICE_PATH,
        "token_endpoint": api + TOKEN_PATH,
        "grant_types_supported": [GRANT],
        "response_types_supported": [],
        "token_endpoint_auth_methods_supported": ["none"],
        "scopes_supported": list(ROLES),
    }


def _form(kind: type[F]) -> F | None:
    request.max_content_length = _FORM_BYTES
    try:
        return kind.model_validate(request.form.to_dict(flat=True))
    except ValidationError:
        return None


def _refused(error: str) -> Response:
    return Response(OAuthRefusal(error=error).model_dump_json(), 400, mimetype="application/json")
