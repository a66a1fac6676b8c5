"""How a study ends: with a registered model and its lineage, or with a coded reason why there is none."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.models.service import associate, register
from federation_hub.models.tables import Model
from federation_hub.services import Services
from federation_hub.stored import read_stored
from federation_hub.studies.course import keeps_best
from federation_hub.studies.rules import ROUND, STUDY
from federation_hub.studies.service import abandon, move, plan_of
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from pipelines.bundles import read_bundle, with_weights
from silo_node.wire.models import ModelCard
from silo_node.wire.transfers import BlobReference


def register_model(services: Services, study_id: str) -> None:
    """Pack the best global model, or the last by the plan, register it, put it to the benchmark, end the study.

    The new bundle is the starting model's with other weights. Where the benchmark approves by rule, the silos
    evaluate it next; otherwise its owner decides. Without an aggregator every silo keeps its own model, and there is
    none to register.
    """
    with services.database.reading() as session:
        study = session.get_one(Study, study_id)
    if study.state in STUDY.final:
        return
    if plan_of(study).decentralised is not None:
        _complete(services, study_id)
        return
    bundle = _pack(services, study)
    with services.database.session() as session:
        study = session.get_one(Study, study_id)
        if study.state in STUDY.final:
            return
        study.final_model_digest = register(
            session,
            services,
            bundle=bundle,
            card=_card(session, study),
            owner_organisation=study.owner_organisation_id,
            owner_person=study.owner_person_id,
            lineage=_lineage(session, study),
        )
        owner = Actor("person", study.owner_person_id, organisation_id=study.owner_organisation_id)
        associate(session, study.final_model_digest, session.get_one(Benchmark, study.benchmark_id), actor=owner)
        move(session, study, "complete")


def _complete(services: Services, study_id: str) -> None:
    with services.database.session() as session:
        study = session.get_one(Study, study_id)
        if study.state not in STUDY.final:
            move(session, study, "complete")


def fail_study(services: Services, study_id: str, code: str) -> None:
    """End a study that cannot go on. What was committed stays on record."""
    with services.database.session() as session:
        study = session.get_one(Study, study_id)
        if not STUDY.allows(study.state, "fail"):
            return
        for found in session.scalars(select(StudyRound).where(StudyRound.study_id == study_id)).all():
            if ROUND.allows(found.state, "abandon"):
                abandon(session, found, code)
        move(session, study, "fail", code=code)


def _pack(services: Services, study: Study) -> BlobReference:
    weights = study.best_digest if keeps_best(plan_of(study)) and study.best_digest else study.weights_digest
    assert weights is not None
    path = services.blobs.scratch / f"{study.id}.final"
    start = read_bundle(services.blobs.path(study.model_digest))
    with_weights(start, services.blobs.path(weights), path)
    size = path.stat().st_size
    return BlobReference(digest=services.blobs.put_file(path), size=size)


def _card(session: Session, study: Study) -> ModelCard:
    start = read_stored(ModelCard, session.get_one(Model, study.model_digest).card)
    plan = plan_of(study)
    sites = session.scalars(
        select(StudyUpdate.silo_id).where(StudyUpdate.study_id == study.id, StudyUpdate.state == "folded").distinct()
    ).all()
    return ModelCard(
        name=plan.title,
        description=f"Trained from {start.name} in study {study.id}.",
        intended_use=start.intended_use,
        training_data=f"Cohorts of {len(sites)} sites, {_rounds(session, study)}; the images stayed at the sites.",
        licence=start.licence,
    )


def _rounds(session: Session, study: Study) -> str:
    """Tell how many rounds of training the registered model has."""
    lineage = _lineage(session, study)["rounds"]
    return f"{len(lineage)} round{'' if len(lineage) == 1 else 's'}"


def _lineage(session: Session, study: Study) -> dict[str, Any]:
    rounds: Iterable[StudyRound] = session.scalars(
        select(StudyRound)
        .where(StudyRound.study_id == study.id, StudyRound.state == "committed", StudyRound.weights_digest.is_not(None))
        .order_by(StudyRound.number)
    )
    if keeps_best(plan_of(study)) and study.best_round is not None:
        rounds = [found for found in rounds if found.number <= study.best_round]
    return {
        "study": study.id,
        "plan_digest": study.plan_digest,
        "base_model": study.model_digest,
        "rounds": [_round_lineage(session, found) for found in rounds],
    }


def _round_lineage(session: Session, found: StudyRound) -> dict[str, Any]:
    folded = select(StudyUpdate.digest).where(
        StudyUpdate.study_id == found.study_id,
        StudyUpdate.number == found.number,
        StudyUpdate.attempt == found.attempt,
        StudyUpdate.state == "folded",
    )
    return {
        "round": found.number,
        "base": found.base_digest,
        "model": found.weights_digest,
        "updates": sorted(digest for digest in session.scalars(folded) if digest is not None),
    }
