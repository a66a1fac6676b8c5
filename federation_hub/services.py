"""What every request and every engine step works with, made once a process."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import current_app

from federation_hub.config import HubConfig
from federation_hub.db import Database, now
from federation_hub.intake.log import Intake
from federation_hub.silos.seen import Seen
from federation_hub.storage.blobs import BlobStore
from federation_hub.storage.partial import PartialUploads
from silo_node.wire.envelope import public_key_text

if TYPE_CHECKING:
    from federation_hub.engine.engine import Engine

EXTENSION = "medsilo"


@dataclass(frozen=True)
class Services:
    """The hub's configuration, database, blob store, signing key and, where one runs here, its durable engine."""

    config: HubConfig
    database: Database
    blobs: BlobStore
    key: Ed25519PrivateKey
    engine: "Engine | None" = None
    started: datetime = field(default_factory=now)
    """No lease runs out before the hub has been up for one lease: silos could not reach it to keep theirs."""

    partials: PartialUploads = field(init=False)
    intake: Intake = field(init=False)
    seen: Seen = field(init=False, default_factory=Seen)

    def __post_init__(self) -> None:
        object.__setattr__(self, "intake", Intake(self.database, self.config.home / "intake"))
        object.__setattr__(self, "partials", PartialUploads(self.blobs.partial))

    @property
    def public_key(self) -> str:
        return public_key_text(self.key.public_key())


def services() -> Services:
    """Return the services of the application that handles this request."""
    found: Services = current_app.extensions[EXTENSION]
    return found
