"""Routes of studies."""

from flask import Blueprint
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.api import PERSON, current_actor, route
from federation_hub.paging import PageQuery, page
from federation_hub.services import Services, services
from federation_hub.studies import service
from federation_hub.studies.messages import RoundsQuery, StudyList, StudyView
from federation_hub.studies.tables import Study
from federation_hub.studies.view import seen_study, study_summaries, visible_studies
from silo_node.wire.claims import ClaimSheet, claim_sheet
from silo_node.wire.errors import MedSiloError
from silo_node.wire.studies import StudyPlan

blueprint = Blueprint("studies", __name__)
_STEERING = {"researcher", "hub-admin"}


@route(blueprint, "POST", "/studies", body=StudyPlan, returns=StudyView, status=201, roles={"researcher"})
def create_study(body: StudyPlan) -> StudyView:
    """Create a study from a plan and ask its silos for consent."""
    with services().database.session() as session:
        study = service.create(session, body, actor=current_actor())
        return service.study_view(session, study.id)


@route(blueprint, "GET", "/studies", query=PageQuery, returns=StudyList, roles=PERSON)
def studies(query: PageQuery) -> StudyList:
    """List the studies of this person's organisation, of its silos and of its benchmarks, newest first."""
    with services().database.reading() as session:
        mine = visible_studies(current_actor())
        found = page(session, mine, query, Study.created, Study.id, newest_first=True)
        return StudyList(studies=study_summaries(session, found.rows), next=found.next)


@route(blueprint, "GET", "/studies/<study_id>", query=RoundsQuery, returns=StudyView, roles=PERSON)
def study(study_id: str, query: RoundsQuery) -> StudyView:
    """Show a study: its rounds, its sites' answers with the reasons of refusals, and its models' scores."""
    with services().database.reading() as session:
        seen = seen_study(session, study_id, current_actor())
        return service.study_view(session, seen.id, current_actor(), query)


@route(blueprint, "GET", "/studies/<study_id>/privacy", returns=ClaimSheet, roles=PERSON)
def study_privacy(study_id: str) -> ClaimSheet:
    """Tell what a study's differential privacy is worth, in the terms of NIST SP 800-226."""
    with services().database.reading() as session:
        return claim_sheet(service.plan_of(seen_study(session, study_id, current_actor())))


@route(blueprint, "POST", "/studies/<study_id>/start", returns=StudyView, roles=_STEERING)
def start_study(study_id: str) -> StudyView:
    """Start a study that as many silos as its quorum have agreed to."""
    hub = services()
    with hub.database.session() as session:
        service.start(session, _own(session, study_id, current_actor()), current_actor())
        view = service.study_view(session, study_id)
    if hub.engine is not None:
        hub.engine.start_study(study_id)
    return view


@route(blueprint, "POST", "/studies/<study_id>/pause", returns=StudyView, roles=_STEERING)
def pause_study(study_id: str) -> StudyView:
    """Let the open round finish and open no other until the study is resumed."""
    return _change(services(), study_id, "pause")


@route(blueprint, "POST", "/studies/<study_id>/resume", returns=StudyView, roles=_STEERING)
def resume_study(study_id: str) -> StudyView:
    """Go on with a paused study."""
    return _change(services(), study_id, "resume")


@route(blueprint, "POST", "/studies/<study_id>/stop", returns=StudyView, roles=_STEERING)
def stop_study(study_id: str) -> StudyView:
    """End a study at once; what was committed stays on record."""
    return _change(services(), study_id, "stop")


def _change(hub: Services, study_id: str, event: str) -> StudyView:
    with hub.database.session() as session:
        service.change(session, _own(session, study_id, current_actor()), event, current_actor())
        view = service.study_view(session, study_id)
    if hub.engine is not None:
        hub.engine.notify(study_id)
    return view


def _own(session: Session, study_id: str, actor: Actor) -> Study:
    """Return a study this person may steer; one of another organisation does not exist for them."""
    found = service.study_of_id(session, study_id)
    if found.owner_organisation_id != actor.organisation_id and "hub-admin" not in actor.roles:
        raise MedSiloError("study-unknown")
    return found
