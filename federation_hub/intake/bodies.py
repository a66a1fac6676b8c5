"""The body of the request at hand: its digest and size, whichever way a view reads it."""

from flask import g, request

from federation_hub.accounts.actors import Actor
from federation_hub.intake.log import path_template
from federation_hub.services import services
from federation_hub.storage.partial import ByteStream
from silo_node.wire.digests import Hasher, digest_bytes, finish, new_hasher
from silo_node.wire.transfers import OFFSET_HEADER


class Body:
    """A stream that is hashed as it is read."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._hasher: Hasher = new_hasher()
        self.size = 0

    def readinto(self, buffer: memoryview, /) -> int | None:
        """Read on, as the stream below does."""
        count = self._stream.readinto(buffer)
        if count:
            self._hasher.update(buffer[:count])
            self.size += count
        return count

    @property
    def digest(self) -> str:
        return finish(self._hasher)


def seen(data: bytes) -> None:
    """Remember a body that was read whole."""
    g.body = digest_bytes(data), len(data)


def watched(stream: ByteStream) -> Body:
    """Return the stream of a body that is read in parts, and remember it."""
    g.body = found = Body(stream)
    return found


def note_body(actor: Actor) -> None:
    """Write the body of this request into the intake log, where a silo sent it; however it was answered."""
    body = g.pop("body", None)
    if body is None or actor.kind != "silo" or request.url_rule is None:
        return
    digest, size = (body.digest, body.size) if isinstance(body, Body) else body
    subject = next(iter((request.view_args or {}).values()), "")
    if isinstance(body, Body):
        subject = f"{subject}@{request.headers.get(OFFSET_HEADER, '')[:15]}"
    services().intake.note(
        actor.id,
        method=request.method,
        path=path_template(request.url_rule.rule),
        subject=subject[:80],
        digest=digest,
        size=size,
    )
