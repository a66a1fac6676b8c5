"""A study as people see it: its rounds, its sites, what was refused and why, and how its models score."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.service import organisation_names
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.tables import Task
from federation_hub.paging import page
from federation_hub.silos.tables import Silo
from federation_hub.stored import read_stored
from federation_hub.studies.messages import (
    FIRST_ROUNDS,
    CurvePoint,
    RoundsQuery,
    RoundView,
    ScoreView,
    SiteCurve,
    StudySilo,
    StudySummary,
    StudyView,
    UpdateView,
)
from federation_hub.studies.rules import base_round, mean_score, model_of
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import MedSiloError
from silo_node.wire.privacy import SiloPrivacy
from silo_node.wire.studies import RoundReport, StudyPlan

_COUNTED = ("verified", "folded", "late")
"""Updates whose site's score of the incoming global model is believed; a refused report's is not."""


def study_view(
    session: Session, study_id: str, viewer: Actor | None = None, query: RoundsQuery = FIRST_ROUNDS
) -> StudyView:
    """Return a study with a page of its rounds, the first of them first; raises ``study-unknown``.

    A ``viewer`` of another organisation than the study's sees the numbers of its own silos only, and no other's.
    """
    study = session.get(Study, study_id)
    if study is None:
        raise MedSiloError("study-unknown")
    asked = select(StudyRound).where(StudyRound.study_id == study_id)
    found = page(session, asked, query, StudyRound.number, StudyRound.attempt)
    rows = _rows(session, study, viewer, found.rows)
    metric = _metric(session, study)
    plan = read_stored(StudyPlan, study.plan)
    return StudyView.model_validate(
        {
            "study_id": study.id,
            "name": plan.name,
            "title": plan.title,
            "state": study.state,
            "code": study.code,
            "plan": plan,
            "plan_digest": study.plan_digest,
            "organisation": session.get_one(Organisation, study.owner_organisation_id).name,
            "metric": metric,
            "silos": _silos(session, study),
            "initial_score": _score(metric, rows[1]),
            "rounds": tuple(_round_view(one, rows, metric) for one in found.rows),
            "next": found.next,
            "committed": committed_rounds(session, [study.id]).get(study.id, 0),
            "best_round": study.best_round,
            "curves": _curves(_begun(session, study, rows), found.rows, rows),
            "final_model": study.final_model_digest,
            "created": study.created,
            "started": study.started,
            "finished": study.finished,
        }
    )


def study_summaries(session: Session, studies: Sequence[Study]) -> tuple[StudySummary, ...]:
    """Return a line for each study of a list, in as many queries whatever their number."""
    homes = organisation_names(session)
    committed = committed_rounds(session, [study.id for study in studies])
    return tuple(_summary(study, homes, committed) for study in studies)


def _summary(study: Study, homes: Mapping[str, str], committed: Mapping[str, int]) -> StudySummary:
    plan = read_stored(StudyPlan, study.plan)
    return StudySummary.model_validate(
        {
            "study_id": study.id,
            "name": plan.name,
            "title": plan.title,
            "state": study.state,
            "code": study.code,
            "benchmark": plan.benchmark.name,
            "benchmark_version": plan.benchmark.version,
            "organisation": homes[study.owner_organisation_id],
            "silos": len(plan.silos),
            "rounds": plan.rounds,
            "committed": committed.get(study.id, 0),
            "final_model": study.final_model_digest,
            "created": study.created,
            "finished": study.finished,
        }
    )


def committed_rounds(session: Session, studies: Sequence[str]) -> dict[str, int]:
    """Return how many rounds of each study made a model; a study without one is left out."""
    made = StudyRound.state == "committed", StudyRound.validate_only.is_(False)
    found = (
        select(StudyRound.study_id, func.count(StudyRound.number.distinct()))
        .where(StudyRound.study_id.in_(studies), *made)
        .group_by(StudyRound.study_id)
    )
    return dict(session.execute(found).all())


def visible_studies(actor: Actor) -> Select[Study]:
    """Select the studies a person may see: the hub's admin all, others those of their organisation's sides.

    A study has as sides its owner, the owner of its benchmark, and the hospitals that were asked.
    """
    if "hub-admin" in actor.roles:
        return select(Study)
    home = actor.organisation_id
    asked = (
        select(Association.study_id)
        .join(Silo, Silo.id == Association.silo_id)
        .where(Silo.organisation_id == home, Association.study_id.is_not(None))
    )
    benchmarks = select(Benchmark.id).where(Benchmark.owner_organisation_id == home)
    sides = (Study.owner_organisation_id == home, Study.benchmark_id.in_(benchmarks), Study.id.in_(asked))
    return select(Study).where(or_(*sides))


def seen_study(session: Session, study_id: str, actor: Actor) -> Study:
    """Return a study; raises ``study-unknown`` also for one this person may not see."""
    found = session.scalar(visible_studies(actor).where(Study.id == study_id))
    if found is None:
        raise MedSiloError("study-unknown")
    return found


class _Row:
    """One update with what the view needs of its silo, its task and its report."""

    def __init__(self, update: StudyUpdate, done: int, total: int, silo: str, *, open_book: bool, norms: bool) -> None:
        self.update = update
        self.done = done
        self.total = total
        self.silo = silo
        self.open_book = open_book
        self.norms = norms and open_book
        self.report = None if update.report is None else read_stored(RoundReport, update.report)

    def view(self) -> UpdateView:
        """Return the row as people see it. Exact counts of cases are left out."""
        update, report = self.update, self.report if self.open_book else None
        return UpdateView.model_validate(
            {
                "silo_id": update.silo_id,
                "silo": self.silo,
                "state": update.state,
                "code": update.code,
                "done": self.done,
                "total": self.total,
                "norm": update.norm if self.norms else None,
                "mark": update.mark if self.norms else None,
                "size": update.size,
                "sent_as": (update.report or {}).get("sent_as"),
                "score": report.score.value if report else None,
                "score_reason": report.score.reason if report else None,
                "personal": report.personal.value if report and report.personal else None,
                "alone": report.alone.value if report and report.alone else None,
                "verdict": report.verdict if report else None,
                "started": update.started or update.number,
                "heard": len(report.exchange.heard) if report and report.exchange else None,
                "shown": report.exchange.shown if report and report.exchange else None,
                "train_seconds": report.train_seconds if report else None,
                "received": update.received,
            }
        )


Rows = Mapping[int, Sequence[_Row]]
"""Updates by the number of their round."""


def _rows(session: Session, study: Study, viewer: Actor | None, rounds: Sequence[StudyRound]) -> Rows:
    """Return the updates of these rounds, those of the round after them, which score their models, and of the first."""
    first, last = (rounds[0].number, rounds[-1].number + 1) if rounds else (1, 1)
    wanted = StudyUpdate.number.between(first, last) | (StudyUpdate.number == 1)
    found = session.execute(
        select(StudyUpdate, Task.progress_done, Task.progress_total, Silo.name, Silo.organisation_id)
        .join(Task, Task.id == StudyUpdate.task_id)
        .join(Silo, Silo.id == StudyUpdate.silo_id)
        .where(StudyUpdate.study_id == study.id, wanted)
        .order_by(StudyUpdate.number, StudyUpdate.attempt, StudyUpdate.silo_id)
    )
    # Where noise hides each silo's update, its length must not be told beside it.
    norms = not isinstance(read_stored(StudyPlan, study.plan).privacy, SiloPrivacy)
    rows: dict[int, list[_Row]] = defaultdict(list)
    for update, done, total, silo, organisation in found:
        open_book = _may_see_numbers(study, organisation, viewer)
        rows[update.number].append(_Row(update, done, total, silo, open_book=open_book, norms=norms))
    return rows


def _may_see_numbers(study: Study, hospital: str, viewer: Actor | None) -> bool:
    if viewer is None or "hub-admin" in viewer.roles:
        return True
    return viewer.organisation_id in (study.owner_organisation_id, hospital)


def _begun(session: Session, study: Study, rows: Rows) -> Mapping[int, Sequence[StudyRound]]:
    """Return by number the rounds in which these updates were begun, which may be long before."""
    numbers = {_began(row.update) for members in rows.values() for row in members}
    wanted = select(StudyRound).where(StudyRound.study_id == study.id, StudyRound.number.in_(numbers))
    begun: dict[int, list[StudyRound]] = defaultdict(list)
    for found in session.scalars(wanted.order_by(StudyRound.number, StudyRound.attempt)):
        begun[found.number].append(found)
    return begun


def _began(update: StudyUpdate) -> int:
    return update.number if update.started is None else update.started


def _round_view(found: StudyRound, rows: Rows, metric: str) -> RoundView:
    mine = [row for row in rows.get(found.number, ()) if row.update.attempt == found.attempt]
    counted = "verified" if found.validate_only else "folded"
    made_a_model = found.state == "committed" and not found.validate_only
    return RoundView.model_validate(
        {
            "round": found.number,
            "attempt": found.attempt,
            "state": found.state,
            "code": found.code,
            "validate_only": found.validate_only,
            "base_round": base_round(found),
            "base_score": found.base_score,
            "base_verdict": found.verdict,
            "opened": found.opened,
            "deadline": found.deadline,
            "closed": found.closed,
            "finished": found.finished,
            "sites": sum(row.update.state == counted for row in mine),
            "score": _score(metric, rows.get(found.number + 1, ())) if made_a_model else None,
            "updates": tuple(row.view() for row in mine),
        }
    )


def _curves(
    begun: Mapping[int, Sequence[StudyRound]], rounds: Sequence[StudyRound], rows: Rows
) -> tuple[SiteCurve, ...]:
    """Return a curve for each site whose numbers the viewer may see; a model scored twice counts as told last."""
    points: dict[tuple[str, str], dict[int, CurvePoint]] = {}
    told = {(one.number, one.attempt) for one in rounds}
    for row in (row for number in sorted(rows) for row in rows[number]):
        update, report = row.update, row.report if row.open_book else None
        if (update.number, update.attempt) not in told:
            continue
        place = model_of(update, begun.get(_began(update), ()))
        if report is None or place is None or update.state not in _COUNTED or report.score.reason == "not-evaluated":
            continue
        points.setdefault((update.silo_id, row.silo), {})[place] = CurvePoint(
            made=place,
            score=report.score.value,
            personal=report.personal.value if report.personal else None,
            alone=report.alone.value if report.alone else None,
            verdict=report.verdict,
        )
    return tuple(
        SiteCurve(silo_id=silo_id, silo=silo, points=tuple(found[place] for place in sorted(found)))
        for (silo_id, silo), found in sorted(points.items())
    )


def _score(metric: str, rows: Sequence[_Row]) -> ScoreView | None:
    """Return the score of the model that came into the round of these updates: one value a site, the last attempt's."""
    last = {row.update.silo_id: row.report.score for row in rows if row.report is not None and _counts(row)}
    mean = mean_score([(score.value, score.cases) for score in last.values() if score.value is not None])
    if mean is None:
        return None
    return ScoreView(metric=metric, by_cases=mean.by_cases, by_site=mean.by_site, sites=mean.sites)


def _counts(row: _Row) -> bool:
    return row.update.state in _COUNTED


def _metric(session: Session, study: Study) -> str:
    definition = session.get_one(Benchmark, study.benchmark_id).definition
    return read_stored(BenchmarkDefinition, definition).primary.name


def _silos(session: Session, study: Study) -> tuple[StudySilo, ...]:
    rows = session.execute(
        select(Association.silo_id, Silo.name, Association.state)
        .join(Silo, Silo.id == Association.silo_id)
        .where(Association.study_id == study.id)
        .order_by(Silo.name)
    )
    return tuple(
        StudySilo.model_validate({"silo_id": silo_id, "silo": name, "consent": state}) for silo_id, name, state in rows
    )
