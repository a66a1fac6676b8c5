"""A result that should not stand: disputed by whoever it concerns, decided by the benchmark's owner."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.errors import MalformedMessage
from federation_hub.evaluations.messages import ResultView, Settlement
from federation_hub.evaluations.rules import BLOCK
from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Silo
from silo_node.wire.errors import MedSiloError, PolicyRefusal

_MOST = 50


def owns(benchmark: Benchmark, actor: Actor) -> bool:
    """Tell whether a person speaks for a benchmark."""
    owner = "benchmark-owner" in actor.roles and benchmark.owner_organisation_id == actor.organisation_id
    return owner or "hub-admin" in actor.roles


def dispute(session: Session, evaluation_id: str, reason: str, actor: Actor) -> EstimateBlockRow:
    """Take a result off the board until it is decided about.

    The benchmark's owner may, the hospital itself, and the owner of a model in it. Raises ``not-found`` for anybody
    else, ``already-disputed``, ``state-conflict`` for what is superseded or withdrawn.
    """
    row, _ = _result(session, evaluation_id)
    concerned(session, evaluation_id, actor)
    if row.state == "disputed":
        raise MedSiloError("already-disputed")
    _move(session, row, "dispute", actor, reason)
    row.disputed_by, row.disputed_organisation_id, row.decision = actor.id, actor.organisation_id, None
    return row


def settle(session: Session, evaluation_id: str, decision: Settlement, actor: Actor) -> EstimateBlockRow:
    """Let a disputed result stand again, or withdraw it.

    Raises ``same-person`` for whoever disputed it, ``malformed-message`` where it shall stand and nobody says why.
    """
    row, benchmark = _result(session, evaluation_id)
    if not owns(benchmark, actor):
        raise MedSiloError("not-found")
    if decision.uphold and actor.id == row.disputed_by:
        raise PolicyRefusal("same-person")
    if decision.uphold and decision.because is None:
        raise MalformedMessage(fields=("because",))
    if decision.uphold:
        _refuse_second(session, row)
        _move(session, row, "uphold", actor, None)
    else:
        _move(session, row, "withdraw", actor, decision.reason or row.reason)
    row.decision = decision.because
    return row


def concerned(session: Session, evaluation_id: str, actor: Actor) -> tuple[Evaluation, Benchmark]:
    """Return an evaluation to those who may dispute its result; raises ``not-found`` for anybody else."""
    evaluation = session.get(Evaluation, evaluation_id)
    if evaluation is None:
        raise MedSiloError("not-found")
    benchmark = session.get_one(Benchmark, evaluation.benchmark_id)
    if not owns(benchmark, actor) and actor.organisation_id not in _sides(session, evaluation):
        raise MedSiloError("not-found")
    return evaluation, benchmark


def disputed_results(session: Session, actor: Actor) -> list[tuple[EstimateBlockRow, Benchmark]]:
    """Return the results that wait for this person's decision, the oldest first."""
    if not {"benchmark-owner", "hub-admin"} & set(actor.roles):
        return []
    found = select(EstimateBlockRow, Benchmark).join(Benchmark, Benchmark.id == EstimateBlockRow.benchmark_id)
    found = found.where(EstimateBlockRow.state == "disputed").order_by(EstimateBlockRow.received)
    if "hub-admin" not in actor.roles:
        found = found.where(Benchmark.owner_organisation_id == actor.organisation_id)
    return [(row, benchmark) for row, benchmark in session.execute(found.limit(_MOST))]


def result_view(row: EstimateBlockRow) -> ResultView:
    """Return a result as people see it."""
    return ResultView.model_validate(
        {
            "digest": row.digest,
            "state": row.state,
            "reason": row.reason,
            "received": row.received,
            "decision": row.decision,
        }
    )


def _result(session: Session, evaluation_id: str) -> tuple[EstimateBlockRow, Benchmark]:
    row = session.scalar(select(EstimateBlockRow).where(EstimateBlockRow.evaluation_id == evaluation_id))
    if row is None:
        raise MedSiloError("not-found")
    return row, session.get_one(Benchmark, row.benchmark_id)


def _sides(session: Session, evaluation: Evaluation) -> set[str]:
    owners = session.scalars(select(Model.owner_organisation_id).where(Model.digest.in_(evaluation.models)))
    return {session.get_one(Silo, evaluation.silo_id).organisation_id, *owners}


def _refuse_second(session: Session, row: EstimateBlockRow) -> None:
    """A cohort has one result that counts: where a later one came meanwhile, the disputed one stays off."""
    later = select(EstimateBlockRow.digest).where(
        EstimateBlockRow.cohort_id == row.cohort_id, EstimateBlockRow.state == "accepted"
    )
    if session.scalar(later) is not None:
        raise MedSiloError("state-conflict")


def _move(session: Session, row: EstimateBlockRow, event: str, actor: Actor, reason: str | None) -> None:
    before, row.state = row.state, BLOCK.after(row.state, event)
    row.reason = reason
    record(session, actor, f"block.{event}", row.digest, before, row.state, reason)
