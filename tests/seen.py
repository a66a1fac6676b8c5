"""Were all bytes that left seen? What a proxy kept, compared with what the sites wrote down before they sent."""

import base64
import json
import pkgutil
from collections import Counter
from collections.abc import Iterable
from importlib import import_module

from pydantic import BaseModel

import silo_node.wire
from silo_node.outbox.egress_log import Departure
from silo_node.wire.base import Message
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import payload_type
from tests.proxy import Passed, Proxy


def silo_bodies(proxy: Proxy) -> list[Passed]:
    """Return the requests with a body that silos made: with their token, or to enrol before they have one."""
    silos = (one for one in proxy.passed if one.token == "mss" or one.path.endswith("/enrolments"))
    return [one for one in silos if one.body]


def unseen(bodies: Iterable[Passed], departures: Iterable[Departure]) -> list[str]:
    """Return the requests whose exact bytes no egress log holds, each as often as it is missing."""
    logged = Counter((one.method, one.digest, one.size) for one in departures)
    missing = []
    for one in bodies:
        key = (one.method, digest_bytes(one.body), len(one.body))
        if logged[key]:
            logged[key] -= 1
        else:
            missing.append(f"{one.method} {one.path}")
    return missing


def undeclared(bodies: Iterable[Passed], departures: Iterable[Departure]) -> list[str]:
    """Return the requests that are not exactly a declared message, or a part of an announced blob."""
    kinds = {one.digest: one.kind for one in departures}
    announced = {json.loads(one.body)["digest"] for one in bodies if one.path.endswith("/uploads")}
    assert announced or not any(one.method == "PATCH" for one in bodies)
    return [f"{one.method} {one.path}" for one in bodies if not _declared(one.body, kinds[digest_bytes(one.body)])]


def statements_in(bodies: Iterable[Passed]) -> set[str]:
    """Return the names of the signed statements among some bodies."""
    types = {_payload_name(one.body) for one in bodies if one.body.startswith(b'{"payload"')}
    return {name for name in types if name}


def _payload_name(body: bytes) -> str:
    declared = {payload_type(kind): kind.__name__ for kind in _messages().values()}
    return declared.get(json.loads(body)["payloadType"], "")


def _declared(body: bytes, kind: str) -> bool:
    if kind in ("bytes:model", "bytes:update"):
        return True
    name = "Envelope" if kind.startswith("Envelope[") else kind
    messages = _messages()
    if name not in messages or not _exactly(body, messages[name]):
        return False
    if name != "Envelope":
        return True
    value = json.loads(body)
    payload = base64.b64decode(value["payload"])
    return any(payload_type(one) == value["payloadType"] and _exactly(payload, one) for one in messages.values())


def _exactly(data: bytes, kind: type[Message]) -> bool:
    """Tell whether some bytes are this message to the byte: nothing beside its declared fields, not even a blank."""
    return canonical_bytes(kind.model_validate_json(data)) == data


def _messages() -> dict[str, type[Message]]:
    found: dict[str, type[Message]] = {}
    for module in pkgutil.iter_modules(silo_node.wire.__path__):
        for value in vars(import_module(f"silo_node.wire.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, BaseModel) and issubclass(value, Message):
                found[value.__name__] = value
    return found
