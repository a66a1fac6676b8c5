"""What silos say in a masked round, judged and kept once each; and what each of them is shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.evaluations.tasks import own_task
from federation_hub.masking.stages import sites_in
from federation_hub.masking.tables import MaskingGroup, MaskingSite
from federation_hub.stored import read_stored
from federation_hub.studies.service import plan_of
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from silo_node.wire.base import Message
from silo_node.wire.envelope import BadEnvelope, Envelope, open_envelope, payload_type
from silo_node.wire.errors import IntegrityError, MedSiloError, WireError
from silo_node.wire.masking import (
    MaskingKeys,
    MaskingOpening,
    MaskingShares,
    MaskingSurvivors,
    MaskingView,
    Parcel,
    roster_digest,
)
from silo_node.wire.studies import StudyPlan

_COLUMNS: dict[str, tuple[type[Message], str, str]] = {
    payload_type(kind): (kind, column, stage)
    for kind, column, stage in (
        (MaskingKeys, "keys", "advertising"),
        (MaskingShares, "shares", "sharing"),
        (MaskingSurvivors, "confirmation", "confirming"),
        (MaskingOpening, "opening", "opening"),
    )
}
_STAGES = {stage: column for _, column, stage in _COLUMNS.values()}


@dataclass(frozen=True)
class Place:
    """Where one silo stands in a masked round."""

    plan: StudyPlan
    update: StudyUpdate
    round: StudyRound
    group: MaskingGroup
    site: MaskingSite
    sites: Sequence[MaskingSite]

    @property
    def roster(self) -> tuple[Envelope, ...]:
        """The signed keys of everybody who advertised in time, by silo id."""
        return tuple(read_stored(Envelope, site.keys) for site in self.sites if site.keys is not None)

    @property
    def shared(self) -> list[MaskingSite]:
        return [site for site in self.sites if site.shares is not None]

    @property
    def survivors(self) -> tuple[str, ...]:
        return tuple(site.silo_id for site in self.sites if site.survived)


def receive(session: Session, task_id: str, envelope: Envelope, actor: Actor) -> str:
    """Keep a silo's statement and return the study's id; the same statement again changes nothing.

    Raises ``not-found``, ``bad-envelope`` where it is not signed with the key the plan names, ``masking-closed`` where
    its stage is over or another statement was there before, ``masking-roster`` where it is not about this round.
    """
    place = _place(session, task_id, actor, lock=True)
    if envelope.payloadType not in _COLUMNS:
        raise WireError("bad-envelope")
    kind, column, stage = _COLUMNS[envelope.payloadType]
    said = envelope.model_dump(mode="json")
    before = getattr(place.site, column)
    if before is not None and before["payload"] == said["payload"]:
        return place.update.study_id
    if before is not None or place.group.stage != stage:
        raise MedSiloError("masking-closed")
    if not _fits(_opened(place, envelope, kind), place):
        raise IntegrityError("masking-roster")
    setattr(place.site, column, said)
    return place.update.study_id


def view(session: Session, task_id: str, actor: Actor) -> MaskingView:
    """Return what a silo may know of its group in the present stage."""
    place = _place(session, task_id, actor)
    stage = place.group.stage
    received = stage == "masking" or (stage in _STAGES and getattr(place.site, _STAGES[stage]) is not None)
    named = stage in ("confirming", "opening")
    signed = [site.confirmation for site in place.sites if site.confirmation is not None]
    return MaskingView.model_validate(
        {
            "stage": stage,
            "received": received,
            "roster": place.roster if stage in ("sharing", "masking", "confirming", "opening") else (),
            "parcels": _parcels_for(place) if stage == "masking" else (),
            "survivors": place.survivors if named else (),
            "confirmations": tuple(read_stored(Envelope, one) for one in signed) if stage == "opening" else (),
        }
    )


def takes_updates(session: Session, row: StudyUpdate) -> str | None:
    """Return None where a masked update may come now, else the code for which it is late or refused."""
    found = (row.study_id, row.number, row.attempt)
    site = session.get(MaskingSite, (*found, row.silo_id))
    group = session.get(MaskingGroup, (*found, site.place)) if site else None
    if site is None or group is None or group.stage != "masking" or site.shares is None:
        return "masking-closed"
    return None


def _place(session: Session, task_id: str, actor: Actor, *, lock: bool = False) -> Place:
    own_task(session, task_id, actor)
    update = session.scalar(select(StudyUpdate).where(StudyUpdate.task_id == task_id))
    if update is None:
        raise MedSiloError("not-found")
    found = (update.study_id, update.number, update.attempt)
    site = session.get(MaskingSite, (*found, update.silo_id))
    if site is None:
        raise MedSiloError("not-found")
    # A stage cannot end before what is said in it is noted.
    group = session.get_one(MaskingGroup, (*found, site.place), with_for_update=lock)
    plan = plan_of(session.get_one(Study, update.study_id))
    return Place(plan, update, session.get_one(StudyRound, found), group, site, sites_in(session, group))


def _opened(place: Place, envelope: Envelope, kind: type[Message]) -> Message:
    assert place.plan.secure_aggregation is not None
    signing = {member.silo_id: member.public_key for member in place.plan.secure_aggregation.members}
    try:
        message = open_envelope(envelope, kind, signing[place.site.silo_id])
    except BadEnvelope as error:
        raise WireError("bad-envelope") from error
    if getattr(message, "silo_id", None) != place.site.silo_id:
        raise WireError("bad-envelope")
    return message


def _fits(message: Message, place: Place) -> bool:
    """Return whether a statement is about this very round, and whole."""
    if isinstance(message, MaskingKeys):
        wanted = (place.update.task_id, place.update.study_id, place.update.number, place.round.base_digest)
        stated = (message.task_id, message.study_id, message.round, message.base)
        return stated == wanted and message.weight == place.update.weight
    if getattr(message, "roster", None) != roster_digest(place.roster):
        return False
    if isinstance(message, MaskingShares):
        others = [site.silo_id for site in place.sites if site.keys is not None and site is not place.site]
        sound = all(
            parcel.sender == place.site.silo_id and (parcel.mask is not None) == (parcel.sender < parcel.receiver)
            for parcel in message.parcels
        )
        return sound and [parcel.receiver for parcel in message.parcels] == others
    if isinstance(message, MaskingSurvivors):
        return place.site.survived and message.survivors == place.survivors
    assert isinstance(message, MaskingOpening)
    vanished = [site.silo_id for site in place.shared if not site.survived]
    named = ([one.of for one in message.seeds], [one.of for one in message.roots])
    return place.site.survived and named == (list(place.survivors), vanished)


def _parcels_for(place: Place) -> tuple[Parcel, ...]:
    """Return what the others have sent this silo; those who did not share it will not hear of again."""
    if place.site.shares is None:
        return ()
    found = []
    for site in place.sites:
        if site.shares is None:
            continue
        shares = MaskingShares.model_validate_json(read_stored(Envelope, site.shares).payload_bytes())
        found += [parcel for parcel in shares.parcels if parcel.receiver == place.site.silo_id]
    return tuple(found)
