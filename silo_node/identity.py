"""Who the site is: an Ed25519 key made here that never leaves, a token, and the hub's key pinned at enrolment.

Enrolling trades a one-time code for an identity. The token works only after an admin of the hub has compared the key's
fingerprint with what this node shows, by telephone or face to face.
"""

import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field, ValidationError

from silo_node import __version__
from silo_node.config import NodeConfig, Settings
from silo_node.hub import Hub
from silo_node.outbox.egress_log import EgressLog
from silo_node.outbox.gate import Gate
from silo_node.state import Home, write_private
from silo_node.wire.base import Identifier, Title
from silo_node.wire.enrolment import (
    EnrolmentReceipt,
    EnrolmentRequest,
    KeyRotation,
    KeyRotationReceipt,
    SiloStatus,
)
from silo_node.wire.envelope import (
    PublicKey,
    key_fingerprint,
    key_from_pem,
    key_to_pem,
    new_key,
    public_key_text,
    seal,
    signed_again,
)
from silo_node.wire.errors import BadInput, ConfigError, IntegrityError, WireError
from silo_node.wire.versions import SUPPORTED, negotiate


class Enrolment(Settings):
    """What enrolling left behind, besides the token."""

    silo_id: Identifier
    silo_name: Title
    hub_url: str
    hub_public_key: PublicKey
    """Pinned: tasks signed by any other key are not run."""

    wire_version: Annotated[int, Field(ge=1)]
    public_key: PublicKey

    @property
    def fingerprint(self) -> str:
        """The site's own key in eight groups of four digits, to be compared with what the hub's admin sees."""
        return key_fingerprint(self.public_key)


@dataclass(frozen=True)
class Identity:
    """A node that is enrolled: its key, its token, and whom it trusts."""

    enrolment: Enrolment
    key: Ed25519PrivateKey
    token: str

    @property
    def silo_id(self) -> str:
        return self.enrolment.silo_id

    def __repr__(self) -> str:
        return f"Identity({self.silo_id})"


def load_identity(home: Home) -> Identity:
    """Read who this node is; raises :class:`ConfigError` ``not-enrolled``, or for a key that others may read."""
    enrolment = load_enrolment(home)
    return Identity(enrolment, load_key(home), _secret(home.token_file).decode().strip())


def load_enrolment(home: Home) -> Enrolment:
    """Read what enrolling left behind; raises :class:`ConfigError` ``not-enrolled``."""
    try:
        return Enrolment.model_validate_json(home.enrolment_file.read_bytes())
    except FileNotFoundError:
        raise ConfigError("not-enrolled") from None
    except ValidationError:
        raise ConfigError("config-invalid", f"{home.enrolment_file} was changed by hand") from None


def load_key(home: Home) -> Ed25519PrivateKey:
    """Read the site's private key; raises :class:`ConfigError` where it is absent, no key, or open to others."""
    try:
        return key_from_pem(_secret(home.key_file))
    except ValueError:
        raise ConfigError("config-invalid", f"{home.key_file} is not an Ed25519 key") from None


def own_key(home: Home) -> Ed25519PrivateKey:
    """Return the site's private key, made now where there is none."""
    if not home.key_file.exists():
        write_private(home.key_file, key_to_pem(new_key()))
    return load_key(home)


def enrol(home: Home, hub: Hub, code: str) -> Enrolment:
    """Trade a one-time code for an identity, and pin the hub's key.

    Raises :class:`BadInput` ``already-enrolled`` or ``enrolment-code-invalid``, what the hub answers to the code, and
    :class:`IntegrityError` ``hub-key-changed`` where the hub shows two keys.
    """
    if home.enrolment_file.exists():
        raise BadInput("already-enrolled", f"as {load_enrolment(home).silo_name}")
    information = hub.information()
    if negotiate(information.wire_versions) is None:
        raise WireError("wire-version-unsupported", f"hub {information.version}, node {__version__}")
    public_key = public_key_text(own_key(home).public_key())
    receipt = hub.enrol(_request(code, public_key))
    if receipt.hub_public_key != information.public_key:
        raise IntegrityError("hub-key-changed", "the hub shows two keys")
    return _keep(home, receipt, hub.address, public_key)


def rotate(home: Home, hub: Hub, identity: Identity, *, token_only: bool = False) -> KeyRotationReceipt:
    """Let another key and token follow the present ones; the hub takes the earlier ones for a while longer.

    Safe against a power cut at any line: the new key is on disk before the hub hears of it, and doing it again after a
    lost answer goes on with that key. Raises what the hub answers, and :class:`HubUnavailable`.
    """
    new = identity.key if token_only else _next_key(home)
    public_key = public_key_text(new.public_key())
    wish = seal(KeyRotation(silo_id=identity.silo_id, public_key=public_key), identity.key)
    receipt = hub.rotate(signed_again(wish, identity.key, new) if not token_only else wish)
    if receipt.public_key != public_key or receipt.silo_id != identity.silo_id:
        raise IntegrityError("bad-envelope", "the hub's receipt is for another key")
    write_private(home.key_file, key_to_pem(new))
    write_private(home.token_file, receipt.token.encode() + b"\n")
    # Last, because a running node begins anew when this file changes.
    _write_enrolment(home, identity.enrolment.model_copy(update={"public_key": public_key}))
    home.next_key_file.unlink(missing_ok=True)
    return receipt


def _next_key(home: Home) -> Ed25519PrivateKey:
    if not home.next_key_file.exists():
        write_private(home.next_key_file, key_to_pem(new_key()))
    return key_from_pem(_secret(home.next_key_file))


def unenrol(home: Home) -> None:
    """Forget the hub: the token, the pinned key, and the site's own key. Cohorts and logs stay."""
    for path in (home.token_file, home.enrolment_file, home.key_file, home.next_key_file):
        path.unlink(missing_ok=True)


def check_hub_key(enrolment: Enrolment, status: SiloStatus) -> None:
    """Raise ``hub-key-changed`` where the hub no longer shows the key that was pinned."""
    if status.hub_public_key != enrolment.hub_public_key:
        raise IntegrityError("hub-key-changed")


def gate(home: Home) -> Gate:
    """Return the gate that writes this home's egress log."""
    home.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Gate(EgressLog(home.egress_log))


def dial(home: Home, config: NodeConfig, identity: Identity) -> Hub:
    """Return a new connection to the hub this node is enrolled with."""
    return Hub(config.hub_url or identity.enrolment.hub_url, gate(home), config, identity.token, identity.key)


Dial = Callable[[], Hub]


def _request(code: str, public_key: str) -> EnrolmentRequest:
    try:
        return EnrolmentRequest(
            code=code.strip().upper(),
            public_key=public_key,
            software_version=__version__,
            wire_versions=SUPPORTED,
        )
    except ValidationError:
        raise BadInput("enrolment-code-invalid", "a code looks like ABCD-EFGH-2345-6789") from None


def _keep(home: Home, receipt: EnrolmentReceipt, address: str, public_key: str) -> Enrolment:
    enrolment = Enrolment(
        silo_id=receipt.silo_id,
        silo_name=receipt.silo_name,
        hub_url=address,
        hub_public_key=receipt.hub_public_key,
        wire_version=receipt.wire_version,
        public_key=public_key,
    )
    write_private(home.token_file, receipt.token.encode() + b"\n")
    _write_enrolment(home, enrolment)
    return enrolment


def _write_enrolment(home: Home, enrolment: Enrolment) -> None:
    write_private(home.enrolment_file, enrolment.model_dump_json(indent=2).encode())


def _secret(path: Path) -> bytes:
    try:
        mode = path.stat().st_mode
        data = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError("not-enrolled", f"{path} is not there") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("config-invalid", f"others may read {path}; run chmod 600 on it")
    return data
