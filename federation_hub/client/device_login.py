"""Signing in without a token at hand: a code here, an approval in the browser, a token in a file (RFC 8628)."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from federation_hub.client.connection import Connection
from federation_hub.client.settings import settings_file
from silo_node.wire.errors import HubUnavailable, WireError

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_CLIENT = {"client_id": "medsilo"}
_SLOWER_BY = 5.0


@dataclass(frozen=True, slots=True)
class Approval:
    """What to show the person, and how often and how long to ask whether it was approved."""

    user_code: str
    address: str
    complete_address: str
    device_code: str
    interval: float
    seconds: float


def begin(connection: Connection, scopes: str = "") -> Approval:
    """Ask the hub for a code; raises ``WireError`` or ``HubUnavailable``."""
    status, found = _post(connection, "/oauth/device", {**_CLIENT, "scope": scopes})
    if status != 200:
        raise WireError("malformed-message", "there is no such role")
    return Approval(
        user_code=str(found["user_code"]),
        address=str(found["verification_uri"]),
        complete_address=str(found["verification_uri_complete"]),
        device_code=str(found["device_code"]),
        interval=float(str(found["interval"])),
        seconds=float(str(found["expires_in"])),
    )


def wait_for_token(connection: Connection, approval: Approval, pause: Callable[[float], None] = time.sleep) -> str:
    """Return the token once the person approved; raises ``not-permitted`` or ``device-code-unknown``."""
    form = {**_CLIENT, "grant_type": _GRANT, "device_code": approval.device_code}
    interval, deadline = approval.interval, time.monotonic() + approval.seconds
    while time.monotonic() < deadline:
        pause(interval)
        try:
            status, found = _post(connection, "/oauth/token", form)
        except HubUnavailable:
            # A hub that restarts meanwhile knows the code still (section 3.5 asks to go on, and more slowly).
            interval += _SLOWER_BY
            continue
        if status == 200:
            return str(found["access_token"])
        interval += _judge(str(found.get("error")))
    raise WireError("device-code-unknown", "nobody approved it in time")


def keep_token(token: str, path: Path | None = None) -> Path:
    """Write a token to a file that only its owner may read, and return the path."""
    target = path or settings_file().with_name("token")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(token + "\n")
    os.replace(draft, target)
    return target


def _judge(error: str) -> float:
    """Return how much longer to wait each time; raises where asking again is of no use."""
    if error == "authorization_pending":
        return 0.0
    if error == "slow_down":
        return _SLOWER_BY
    if error == "access_denied":
        raise WireError("not-permitted", "the request was refused in the browser")
    raise WireError("device-code-unknown")


def _post(connection: Connection, path: str, form: dict[str, str]) -> tuple[int, dict[str, object]]:
    answer = connection.exchange("POST", path, data=form)
    try:
        found = answer.json()
    except requests.JSONDecodeError as error:
        raise HubUnavailable("hub-answer-unreadable") from error
    if not isinstance(found, dict) or answer.status_code not in (200, 400):
        raise HubUnavailable("hub-answer-unreadable", f"status {answer.status_code}")
    return answer.status_code, found
