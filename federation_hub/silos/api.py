"""Routes of silos: how one joins, how it registers cohorts, and how people admit or suspend it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta

from flask import Blueprint
from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.service import organisation_names
from federation_hub.api import PERSON, SILO, current_actor, route
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.paging import PageQuery, page
from federation_hub.services import services
from federation_hub.silos import cohorts, keys, service
from federation_hub.silos.messages import (
    CohortView,
    FingerprintApproval,
    InvitationAnswer,
    SiloInvitation,
    SiloList,
    SiloView,
)
from federation_hub.silos.signed import open_signed
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.stored import read_stored
from silo_node import __version__
from silo_node.wire.cohorts import CohortCard, CohortRecord, CohortRegistration
from silo_node.wire.enrolment import (
    EnrolmentReceipt,
    EnrolmentRequest,
    HubInformation,
    KeyRotationReceipt,
    SiloKeys,
    SiloStatus,
)
from silo_node.wire.envelope import Envelope, key_fingerprint
from silo_node.wire.versions import SUPPORTED

blueprint = Blueprint("silos", __name__)
_ADMIN = frozenset({"hub-admin"})


@route(blueprint, "GET", "/hub", returns=HubInformation)
def hub_information() -> HubInformation:
    """Tell what anyone may know of this hub before joining it."""
    hub = services()
    return HubInformation(
        name=hub.config.name,
        version=__version__,
        wire_versions=SUPPORTED,
        public_key=hub.public_key,
        development=hub.config.development,
        recommended_node=hub.config.recommended_node or __version__,
    )


@route(blueprint, "POST", "/enrolments", body=EnrolmentRequest, returns=EnrolmentReceipt, status=201)
def enrol(body: EnrolmentRequest) -> EnrolmentReceipt:
    """Exchange a one-time code and a public key for a token that works once the fingerprint was compared."""
    hub = services()
    with hub.database.session() as session:
        silo, token = service.enrol(session, body, hub.config.silo_token_lifetime)
        return EnrolmentReceipt(
            silo_id=silo.id,
            silo_name=silo.name,
            token=token,
            hub_public_key=hub.public_key,
            wire_version=silo.wire_version or 0,
        )


@route(blueprint, "GET", "/silo", returns=SiloStatus, roles=SILO, inactive_silos=True)
def silo_status() -> SiloStatus:
    """Tell the silo that asks how the hub sees it."""
    hub = services()
    with hub.database.reading() as session:
        silo = session.get_one(Silo, current_actor().id)
        return SiloStatus.model_validate(
            {
                "silo_id": silo.id,
                "silo_name": silo.name,
                "state": silo.state,
                "hub_public_key": hub.public_key,
                "token_expires": current_actor().token_expires,
            }
        )


@route(blueprint, "POST", "/silo/rotation", body=Envelope, returns=KeyRotationReceipt, roles=SILO)
def rotate_key(body: Envelope) -> KeyRotationReceipt:
    """Let another key and token follow the silo's present ones, which count for a while longer."""
    hub = services()
    with hub.database.session() as session:
        return keys.rotate(
            session,
            body,
            current_actor(),
            overlap=timedelta(hours=hub.config.key_overlap_hours),
            lifetime=hub.config.silo_token_lifetime,
        )


@route(blueprint, "GET", "/silos/<silo_id>/keys", returns=SiloKeys)
def silo_keys(silo_id: str) -> SiloKeys:
    """Return every key a silo has had: whoever holds a receipt can verify it, also after a revocation."""
    with services().database.reading() as session:
        return keys.keys_ever(session, silo_id)


@route(blueprint, "POST", "/silo/cohorts", body=Envelope, returns=CohortRecord, status=201, roles=SILO)
def register_cohort(body: Envelope) -> CohortRecord:
    """Register a frozen cohort by fingerprint and card, and ask for its place on the benchmark."""
    actor = current_actor()
    with services().database.session() as session:
        registration = open_signed(session, actor.id, body, CohortRegistration)
        cohort, association = cohorts.register(session, registration, body, actor)
        found = {"cohort_id": cohort.id, "fingerprint": cohort.fingerprint, "association": association.state}
        return CohortRecord.model_validate(found)


@route(blueprint, "POST", "/silo/cohorts/<cohort_id>/retire", roles=SILO)
def retire_cohort(cohort_id: str) -> None:
    """Retire a cohort: its association ends and no new work is offered for it."""
    actor = current_actor()
    with services().database.session() as session:
        cohorts.retire(session, cohorts.cohort_of(session, cohort_id, actor.id), actor)


@route(blueprint, "POST", "/silos", body=SiloInvitation, returns=InvitationAnswer, status=201, roles=_ADMIN)
def invite_silo(body: SiloInvitation) -> InvitationAnswer:
    """Make a place for a hospital's node and the one-time code that fills it."""
    hub = services()
    lifetime = timedelta(seconds=hub.config.enrolment_code_seconds)
    with hub.database.session() as session:
        made = service.invite(
            session, name=body.name, organisation=body.organisation, lifetime=lifetime, actor=current_actor()
        )
    return InvitationAnswer(silo_id=made.silo_id, code=made.code, expires=made.expires)


@route(blueprint, "GET", "/silos", query=PageQuery, returns=SiloList, roles=PERSON)
def silos(query: PageQuery) -> SiloList:
    """List the silos of the federation."""
    with services().database.reading() as session:
        found = page(session, select(Silo), query, Silo.name)
        return SiloList(silos=_views(session, found.rows, current_actor()), next=found.next)


@route(blueprint, "GET", "/silos/<silo_id>", returns=SiloView, roles=PERSON)
def silo(silo_id: str) -> SiloView:
    """Return one silo."""
    with services().database.reading() as session:
        return _views(session, [service.silo_of_id(session, silo_id)], current_actor())[0]


@route(blueprint, "POST", "/silos/<silo_id>/approve", body=FingerprintApproval, returns=SiloView, roles=_ADMIN)
def approve_silo(silo_id: str, body: FingerprintApproval) -> SiloView:
    """Let a pending silo in: the fingerprint is the one the hospital read out, over another channel."""
    with services().database.session() as session:
        found = service.approve(session, silo_id, fingerprint=body.fingerprint, actor=current_actor())
        return _views(session, [found], current_actor())[0]


@route(blueprint, "POST", "/silos/<silo_id>/suspend", returns=SiloView, roles=_ADMIN)
def suspend_silo(silo_id: str) -> SiloView:
    """Shut a silo out for the time being; its token works again once it is reinstated."""
    return _change(silo_id, "suspend")


@route(blueprint, "POST", "/silos/<silo_id>/reinstate", returns=SiloView, roles=_ADMIN)
def reinstate_silo(silo_id: str) -> SiloView:
    """Let a suspended silo in again."""
    return _change(silo_id, "reinstate")


@route(blueprint, "POST", "/silos/<silo_id>/revoke", returns=SiloView, roles=_ADMIN)
def revoke_silo(silo_id: str) -> SiloView:
    """Shut a silo out for good; what it signed before stays verifiable."""
    return _change(silo_id, "revoke")


def _change(silo_id: str, event: str) -> SiloView:
    actor = current_actor()
    with services().database.session() as session:
        return _views(session, [service.change(session, silo_id, event, actor)], actor)[0]


def _views(session: Session, rows: Sequence[Silo], actor: Actor) -> tuple[SiloView, ...]:
    homes, cohorts = organisation_names(session), _cohorts(session, rows)
    return tuple(_view(row, homes[row.organisation_id], actor, tuple(cohorts[row.id])) for row in rows)


def _view(row: Silo, home: str, actor: Actor, cohorts: tuple[CohortView, ...]) -> SiloView:
    steward = "data-steward" in actor.roles and actor.organisation_id == row.organisation_id
    full = steward or "hub-admin" in actor.roles
    return SiloView.model_validate(
        {
            "silo_id": row.id,
            "name": row.name,
            "organisation": home,
            "state": row.state,
            "fingerprint": key_fingerprint(row.public_key) if full and row.public_key else None,
            "software_version": row.software_version if full else None,
            "last_seen": row.last_seen if full else None,
            "created": row.created,
            "cohorts": cohorts,
        }
    )


def _cohorts(session: Session, silos: Sequence[Silo]) -> Mapping[str, list[CohortView]]:
    """Return what each silo has registered, oldest first."""
    rows = session.execute(
        select(Cohort, Benchmark, Association.state)
        .join(Benchmark, Benchmark.id == Cohort.benchmark_id)
        .outerjoin(Association, Association.cohort_id == Cohort.id)
        .where(Cohort.silo_id.in_([silo.id for silo in silos]))
        .order_by(Cohort.created)
    )
    found: dict[str, list[CohortView]] = defaultdict(list)
    for cohort, benchmark, state in rows:
        found[cohort.silo_id].append(
            CohortView.model_validate(
                {
                    "cohort_id": cohort.id,
                    "benchmark": benchmark.name,
                    "benchmark_version": benchmark.version,
                    "state": cohort.state,
                    "association": state,
                    "card": read_stored(CohortCard, cohort.card),
                }
            )
        )
    return found
