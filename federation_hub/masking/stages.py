"""A masked round from stage to stage. Called again after a crash at any line, it goes on where the database stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.audit import record
from federation_hub.db import now
from federation_hub.evaluations.tables import Task
from federation_hub.masking.rules import FINAL, NEXT, Standing, Turn, answers_needed, judge_stage
from federation_hub.masking.tables import MaskingGroup, MaskingSite
from federation_hub.silos.tables import Silo
from federation_hub.studies.rules import Verdict
from federation_hub.studies.tables import StudyRound, StudyUpdate
from silo_node.wire.masking import SecureAggregation, groups_of
from silo_node.wire.strategies import sites_needed
from silo_node.wire.studies import StudyPlan

_WORKING = ("offered", "claimed", "running", "reported")


@dataclass(frozen=True)
class Present:
    """One silo of a round: what it has said, and whether its answer may still come."""

    site: MaskingSite
    update: StudyUpdate
    working: bool


def open_groups(session: Session, found: StudyRound, plan: StudyPlan, silo_ids: Sequence[str]) -> None:
    """Note the groups of a round that was just opened, and the silos of each that were offered it."""
    assert plan.secure_aggregation is not None
    key = {"study_id": found.study_id, "number": found.number, "attempt": found.attempt}
    dealt = groups_of(plan.silos, plan.secure_aggregation.groups, plan.seed)
    for place, group in enumerate(dealt):
        session.add(MaskingGroup(**key, place=place, stage="advertising", deadline=found.deadline, size=len(group)))
        for silo_id in group:
            if silo_id in silo_ids:
                session.add(MaskingSite(**key, place=place, silo_id=silo_id))


def groups_in(session: Session, found: StudyRound) -> list[MaskingGroup]:
    """Return a round's groups by their places."""
    rows = select(MaskingGroup).where(
        MaskingGroup.study_id == found.study_id,
        MaskingGroup.number == found.number,
        MaskingGroup.attempt == found.attempt,
    )
    return list(session.scalars(rows.order_by(MaskingGroup.place)))


def sites_in(session: Session, group: MaskingGroup) -> list[MaskingSite]:
    """Return the silos of a group by their ids."""
    rows = select(MaskingSite).where(
        MaskingSite.study_id == group.study_id,
        MaskingSite.number == group.number,
        MaskingSite.attempt == group.attempt,
        MaskingSite.place == group.place,
    )
    return list(session.scalars(rows.order_by(MaskingSite.silo_id)))


def judge(session: Session, found: StudyRound, plan: StudyPlan) -> tuple[list[tuple[MaskingGroup, Turn]], Verdict]:
    """Return what is due for each group, and what becomes of the round as it stands."""
    masking = plan.secure_aggregation
    assert masking is not None
    groups = groups_in(session, found)
    turns: list[tuple[MaskingGroup, Turn]] = []
    for group in groups:
        present = _present(session, group)
        if group.stage not in FINAL:
            turns.append((group, judge_stage(_standing(group, present, masking, found), now())))
    return turns, _verdict(session, groups, plan)


def advance(session: Session, found: StudyRound, plan: StudyPlan) -> Verdict:
    """Take every group whose stage is over into its next one, and return what becomes of the round."""
    masking = plan.secure_aggregation
    assert masking is not None
    turns, _ = judge(session, found, plan)
    for group, turn in turns:
        if turn != "wait":
            _move(session, group, NEXT[group.stage] if turn == "next" else "void", masking)
    session.flush()
    return _verdict(session, groups_in(session, found), plan)


def counted(session: Session, found: StudyRound) -> dict[int, list[MaskingSite]]:
    """Return the silos whose updates are in the sums that were opened, by group."""
    opened = [group for group in groups_in(session, found) if group.stage == "opened"]
    return {group.place: [site for site in sites_in(session, group) if site.survived] for group in opened}


def forget(session: Session, found: StudyRound) -> None:
    """Forget the shares of a round that is over: nobody needs to open anything of it again."""
    for group in groups_in(session, found):
        for site in sites_in(session, group):
            site.shares = site.opening = None


def _present(session: Session, group: MaskingGroup) -> list[Present]:
    rows = session.execute(
        select(MaskingSite, StudyUpdate, Task.state, Silo.state)
        .join(
            StudyUpdate,
            (StudyUpdate.study_id == MaskingSite.study_id)
            & (StudyUpdate.number == MaskingSite.number)
            & (StudyUpdate.attempt == MaskingSite.attempt)
            & (StudyUpdate.silo_id == MaskingSite.silo_id),
        )
        .join(Task, Task.id == StudyUpdate.task_id)
        .join(Silo, Silo.id == MaskingSite.silo_id)
        .where(
            MaskingSite.study_id == group.study_id,
            MaskingSite.number == group.number,
            MaskingSite.attempt == group.attempt,
            MaskingSite.place == group.place,
        )
        .order_by(MaskingSite.silo_id)
    ).all()
    return [
        Present(site, update, task in _WORKING and silo == "active" and update.state in ("expected", "receiving"))
        for site, update, task, silo in rows
    ]


def _standing(
    group: MaskingGroup, present: Sequence[Present], masking: SecureAggregation, found: StudyRound
) -> Standing:
    answered, awaited = _answers(group.stage, present)
    deadline = found.deadline if group.stage == "advertising" else group.deadline
    return Standing(group.stage, answered, awaited, answers_needed(group.stage, masking, group.size), deadline)


def _answers(stage: str, present: Sequence[Present]) -> tuple[int, int]:
    """Return how many silos have answered in a stage and how many may still."""
    if stage == "advertising":
        done = [one for one in present if one.site.keys is not None]
        return len(done), sum(one.working for one in present if one.site.keys is None)
    if stage == "sharing":
        done = [one for one in present if one.site.shares is not None]
        return len(done), sum(one.working for one in present if one.site.keys is not None and one.site.shares is None)
    if stage == "masking":
        done = [one for one in present if _sent(one)]
        return len(done), sum(one.working for one in present if one.site.shares is not None and not _sent(one))
    survivors = [one.site for one in present if one.site.survived]
    said = [site.confirmation if stage == "confirming" else site.opening for site in survivors]
    done_count = sum(one is not None for one in said)
    return done_count, len(survivors) - done_count


def _sent(one: Present) -> bool:
    return one.site.shares is not None and one.update.state == "verified"


def _move(session: Session, group: MaskingGroup, stage: str, masking: SecureAggregation) -> None:
    before, group.stage = group.stage, stage
    group.deadline = now() + timedelta(seconds=masking.step_seconds)
    if stage == "confirming":
        for one in _present(session, group):
            one.site.survived = _sent(one)
    subject = f"{group.study_id}/{group.number}.{group.attempt}/group-{group.place}"
    record(session, SYSTEM, "masking.stage", subject, before, stage)


def _verdict(session: Session, groups: Sequence[MaskingGroup], plan: StudyPlan) -> Verdict:
    """A round closes once every group has ended; enough sums must be open, over enough silos."""
    if any(group.stage not in FINAL for group in groups):
        return "wait"
    opened = [group for group in groups if group.stage == "opened"]
    silos = sum(sum(site.survived for site in sites_in(session, group)) for group in opened)
    enough = silos >= plan.quorum and len(opened) >= (sites_needed(plan.robust) if len(groups) > 1 else 1)
    return "close" if enough else "abandon"
