"""Envelopes say who stated what; anything else is refused."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo_node.wire.base import Message
from silo_node.wire.envelope import (
    BadEnvelope,
    Envelope,
    key_fingerprint,
    key_from_pem,
    key_to_pem,
    new_key,
    open_envelope,
    payload_type,
    public_key_text,
    seal,
)
from silo_node.wire.tasks import Decline, Heartbeat
from silo_node.wire.transfers import UploadRequest

KEY = new_key()
PUBLIC = public_key_text(KEY.public_key())
UPLOAD = UploadRequest(digest="blake3:" + "a" * 64, size=17, purpose="update")


def test_what_was_sealed_opens_with_the_same_key():
    """A sealed message comes back equal."""
    assert open_envelope(seal(UPLOAD, KEY), UploadRequest, PUBLIC) == UPLOAD


def test_the_signed_bytes_follow_the_dsse_specification():
    """The pre-authentication encoding is the one of the DSSE v1 text: lengths in ASCII, single spaces."""
    envelope = seal(UPLOAD, KEY)
    payload = base64.b64decode(envelope.payload)
    kind = payload_type(UploadRequest).encode()
    encoded = b"DSSEv1 " + str(len(kind)).encode() + b" " + kind + b" " + str(len(payload)).encode() + b" " + payload
    KEY.public_key().verify(base64.b64decode(envelope.signatures[0].sig), encoded)


def test_another_key_does_not_open_it():
    """An envelope opens only with the key that is expected."""
    with pytest.raises(BadEnvelope, match="not signed by that key"):
        open_envelope(seal(UPLOAD, KEY), UploadRequest, public_key_text(new_key().public_key()))


def test_another_type_of_message_is_not_taken_for_it():
    """A signature over a heartbeat can't be passed off as a refusal."""
    with pytest.raises(BadEnvelope, match="another payload type"):
        open_envelope(seal(Heartbeat(state="running", done=1, total=2), KEY), Decline, PUBLIC)


@given(st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_one_changed_byte_of_the_payload_is_noticed(position, change):
    """Flip any byte of the payload: the envelope no longer opens."""
    envelope = seal(UPLOAD, KEY)
    payload = bytearray(base64.b64decode(envelope.payload))
    payload[position % len(payload)] ^= change
    tampered = envelope.model_copy(update={"payload": base64.b64encode(bytes(payload)).decode()})
    with pytest.raises(BadEnvelope):
        open_envelope(tampered, UploadRequest, PUBLIC)


def test_an_undeclared_field_is_refused_even_when_it_is_signed():
    """A silo can't smuggle a field through its own signature."""

    class Smuggler(UploadRequest):
        patient_name: str

    sealed = seal(Smuggler(digest=UPLOAD.digest, size=17, purpose="update", patient_name="DOE^J"), KEY)
    disguised = resign(sealed, payload_type(UploadRequest))
    with pytest.raises(BadEnvelope, match="not a declared message") as refusal:
        open_envelope(disguised, UploadRequest, PUBLIC)
    assert "DOE" not in str(refusal.value)


def test_a_payload_that_is_not_canonical_is_refused():
    """Two byte sequences never stand for one message."""
    loose = base64.b64encode(UPLOAD.model_dump_json(indent=1).encode()).decode()
    with pytest.raises(BadEnvelope, match="not canonical"):
        open_envelope(resign(seal(UPLOAD, KEY).model_copy(update={"payload": loose})), UploadRequest, PUBLIC)


def test_a_private_key_survives_its_file_format():
    """PEM out and in gives the same public key and so the same fingerprint."""
    again = public_key_text(key_from_pem(key_to_pem(KEY)).public_key())
    assert again == PUBLIC
    assert key_fingerprint(again).count(" ") == 7


def resign(envelope: Envelope, kind: str | None = None) -> Envelope:
    """Sign an envelope's present payload again, as a dishonest holder of the key would."""
    kind = kind or envelope.payloadType
    payload = base64.b64decode(envelope.payload)
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    signature = envelope.signatures[0].model_copy(update={"sig": base64.b64encode(KEY.sign(encoded)).decode()})
    return Envelope(payloadType=kind, payload=envelope.payload, signatures=(signature,))


def test_every_message_refuses_unknown_fields():
    """The strictness is in the base class, and no message loosens it."""
    pending, seen = [Message], set()
    while pending:
        kind = pending.pop()
        seen.add(kind)
        pending.extend(kind.__subclasses__())
    for kind in seen:
        assert kind.model_config["extra"] == "forbid", kind
        assert kind.model_config["frozen"], kind
        assert kind.model_config["strict"], kind
