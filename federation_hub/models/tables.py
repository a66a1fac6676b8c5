"""Models, named by the digest of their bundle."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from federation_hub.db import Base, now


class Model(Base):
    """A submitted bundle. ``state``: received, checking, accepted, rejected (see ``code``), withdrawn."""

    __tablename__ = "model"

    digest: Mapped[str] = mapped_column(String(80), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16))
    code: Mapped[str | None] = mapped_column(String(60))
    card: Mapped[dict[str, Any]]
    """A ``ModelCard`` as JSON."""

    summary: Mapped[dict[str, Any] | None]
    """What the static check read from the bundle: network, its arguments, parameters, input and labels."""

    lineage: Mapped[dict[str, Any] | None]
    """For a model a study made: study, plan digest, base model, rounds and the updates folded in each."""

    version: Mapped[int] = mapped_column(default=1, server_default="1")
    """1, or one more than that of the model it is a new version of."""

    version_of: Mapped[str | None] = mapped_column(String(80))
    """Digest of the version before."""

    owner_organisation_id: Mapped[str] = mapped_column(ForeignKey("organisation.id"))
    owner_person_id: Mapped[str] = mapped_column(String(40))
    created: Mapped[datetime] = mapped_column(default=now)
