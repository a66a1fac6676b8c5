"""Doing once what was asked twice: a request that creates something may carry an ``Idempotency-Key``.

When the connection breaks before the answer arrives, a client cannot know whether it was done; with the same key it may
simply ask again and gets the first answer. What is kept of that answer may hold a fresh token, so it is encrypted under
a key made of the caller's own token and the idempotency key, of which the hub keeps neither.
"""

import json
import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from flask import Response, request
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError as DuplicateRow
from sqlalchemy.orm import Session

from federation_hub.accounts.tables import IdempotentAnswer
from federation_hub.db import now
from federation_hub.errors import MalformedMessage
from federation_hub.services import services
from silo_node.wire.errors import MedSiloError

KEY_HEADER = "Idempotency-Key"
KEY_PATTERN = r"^[!-~]{8,80}$"
KEPT = timedelta(days=1)
GIVEN_UP = timedelta(minutes=2)
"""An answer that takes longer than this is not coming any more."""

_KEY = re.compile(KEY_PATTERN)
_CONTEXT = "MedSilo hub 2026-11 answer to a repeated request"
_NONCE = 12


def once(answer: Callable[[], Response]) -> Response:
    """Return the answer to this request, made by ``answer`` the first time; a refusal is not kept.

    Raises ``idempotency-mismatch`` where the key came with another request, ``idempotency-busy`` where the first one is
    still being answered.
    """
    key = request.headers[KEY_HEADER]
    if not _KEY.fullmatch(key):
        raise MalformedMessage(fields=(KEY_HEADER,))
    secret = f"{request.headers.get('Authorization', '')}\n{key}".encode()
    hashed, asked = blake3(secret).hexdigest(), _digest_of_request()
    kept = _reserve(hashed, asked)
    if kept is not None:
        return _opened(kept, secret)
    try:
        response = answer()
    except BaseException:
        _release(hashed)
        raise
    _keep(hashed, response, secret)
    return response


def forget_old(session: Session, at: datetime) -> None:
    """Drop answers after a day; whoever asks again then asks anew."""
    session.execute(delete(IdempotentAnswer).where(IdempotentAnswer.created < at - KEPT))


def _digest_of_request() -> str:
    found = blake3(f"{request.method} {request.path}\n".encode())
    return found.update(request.get_data()).hexdigest()


def _reserve(hashed: str, asked: str) -> IdempotentAnswer | None:
    """Take the key for this request, or return what was kept for it."""
    try:
        with services().database.session() as session:
            found = session.get(IdempotentAnswer, hashed)
            if found is None:
                session.add(IdempotentAnswer(hash=hashed, request=asked))
                return None
    except DuplicateRow:
        raise MedSiloError("idempotency-busy") from None
    if found.request != asked:
        raise MedSiloError("idempotency-mismatch")
    if found.answer is not None:
        return found
    if found.created > now() - GIVEN_UP:
        raise MedSiloError("idempotency-busy")
    # The process that answered the first one was killed; names and digests are unique, so nothing is made twice.
    return None


def _release(hashed: str) -> None:
    with services().database.session() as session:
        session.execute(delete(IdempotentAnswer).where(IdempotentAnswer.hash == hashed))


def _keep(hashed: str, response: Response, secret: bytes) -> None:
    nonce = secrets.token_bytes(_NONCE)
    plain = json.dumps({"media_type": response.mimetype, "body": response.get_data(as_text=True)}).encode()
    with services().database.session() as session:
        row = session.get_one(IdempotentAnswer, hashed)
        row.status, row.answer = response.status_code, nonce + _cipher(secret).encrypt(nonce, plain, None)


def _opened(row: IdempotentAnswer, secret: bytes) -> Response:
    sealed = row.answer or b""
    found = json.loads(_cipher(secret).decrypt(sealed[:_NONCE], sealed[_NONCE:], None))
    return Response(found["body"], status=row.status, mimetype=found["media_type"])


def _cipher(secret: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(blake3(secret, derive_key_context=_CONTEXT).digest())
