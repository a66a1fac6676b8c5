"""A federated study as one durable, sequential function.

Every call below is a step: when it has returned, its result is on disk and it is not run again, even if the process
is killed. A step that was cut off runs again, and steps change nothing the second time.
"""

import errno
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import structlog
from dbos import DBOS
from sqlalchemy.exc import OperationalError

from federation_hub.engine.engine import engine_services, wakeups
from federation_hub.engine.wakeups import EngineStopped
from federation_hub.studies import finish, rounds
from federation_hub.studies.rounds import RoundKey
from federation_hub.studies.rules import ATTEMPTS_A_ROUND, STUDY, pause_before_retry
from federation_hub.studies.service import plan_of
from federation_hub.studies.tables import Study
from silo_node.wire.errors import MedSiloError

P = ParamSpec("P")
R = TypeVar("R")
_LOOK_AGAIN_SECONDS = 0.5
"""How soon a suspension or a change by another process is seen; answers taken by this process wake at once."""

_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT})
_MODEL = "model"
"""The folded model among the digests of a fold; the others are the moments' by name."""

_STOP = "stop"
_NOTHING = ""
"""A topic nobody notifies: waiting for it only passes time, until the engine is stopped."""

_log = structlog.get_logger("federation_hub.studies")


def _step(work: Callable[P, R]) -> Callable[P, R]:
    """Make a checkpointed step. A full disk or a database that is away passes: the step waits and runs again."""

    @wraps(work)
    def patient(*args: P.args, **kwargs: P.kwargs) -> R:
        pause = 1.0
        while True:
            try:
                return work(*args, **kwargs)
            except (OSError, OperationalError) as error:
                if isinstance(error, OSError) and error.errno not in _PASSING:
                    raise
                _log.warning("step-waits", seconds=pause, exc_info=error)
            wakeups().wait(_NOTHING, 0, pause)
            pause = min(2 * pause, 60.0)

    return DBOS.step()(patient)


@DBOS.workflow(max_recovery_attempts=None)
def run_study(study_id: str) -> None:
    """Federated learning: initialise, then round after round offer, collect, fold and commit; last, register."""
    engine = wakeups()
    try:
        planned_rounds = initialise(study_id)
        for number in range(1, planned_rounds + 1):
            trained = train_round(study_id, number)
            if not trained:
                return
            if trained == _STOP:
                break
        if may_go_on(study_id):
            if trained != _STOP:
                validate_round(study_id, planned_rounds + 1)
            register_model(study_id)
    except Exception as error:
        if engine.stopped:
            # The engine's own database may be gone before a step is noted; the next launch does that step again.
            raise EngineStopped from error
        _log.error("study-failed", study_id=study_id, exc_info=error)
        fail(study_id, error.code if isinstance(error, MedSiloError) else "internal-error")


def train_round(study_id: str, number: int) -> bool | str:
    """Make the next global model; a round that misses its quorum, or whose base is vetoed, is tried again.

    False where the study ended, ``stop`` where its stop rule is met.
    """
    for attempt in range(1, ATTEMPTS_A_ROUND + 1):
        if attempt > 1:
            rest(study_id, attempt)
        if not may_go_on(study_id):
            return False
        offer_tasks(study_id, number, attempt)
        collected = collect_updates(study_id, number, attempt)
        if collected == _STOP:
            return _STOP
        if collected:
            folded = fold_updates(study_id, number, attempt)
            if not folded:
                continue
            return commit(study_id, number, attempt, folded)
    give_up(study_id, number)
    return False


def validate_round(study_id: str, number: int) -> None:
    """Let the sites score the final global model on their validation cases; nobody trains."""
    offer_validation(study_id, number)
    if collect_updates(study_id, number, 1) is True:
        commit_validation(study_id, number)


@_step
def initialise(study_id: str) -> int:
    """Make the first global model and return how many rounds were agreed."""
    services = engine_services()
    rounds.first_global_model(services, study_id)
    with services.database.reading() as session:
        return plan_of(session.get_one(Study, study_id)).rounds


@_step
def may_go_on(study_id: str) -> bool:
    """Wait while the study is paused; False once it has ended."""
    while (state := _state(study_id)) == "paused":
        wakeups().wait(study_id, wakeups().count(study_id), _LOOK_AGAIN_SECONDS)
    return state not in STUDY.final


@_step
def offer_tasks(study_id: str, number: int, attempt: int) -> None:
    """Offer the round to every silo that takes part."""
    rounds.open_round(engine_services(), RoundKey(study_id, number, attempt), validate_only=False)


@_step
def offer_validation(study_id: str, number: int) -> None:
    """Offer the last, validating round."""
    rounds.open_round(engine_services(), RoundKey(study_id, number, 1), validate_only=True)


@_step
def collect_updates(study_id: str, number: int, attempt: int) -> bool | str:
    """Wait for every silo's answer or the deadline; False where the round was abandoned, ``stop`` by the stop rule."""
    while True:
        seen = wakeups().count(study_id)
        verdict = rounds.settle(engine_services(), RoundKey(study_id, number, attempt))
        if verdict != "wait":
            return _STOP if verdict == "stop" else verdict == "close"
        wakeups().wait(study_id, seen, _LOOK_AGAIN_SECONDS)


@_step
def fold_updates(study_id: str, number: int, attempt: int) -> dict[str, str]:
    """Fold the verified updates into the next global model and return the digests of it and of its moments.

    None of them where a masked sum would not be exact: that attempt is void.
    """
    folded = rounds.fold_or_void(engine_services(), RoundKey(study_id, number, attempt))
    if folded is None:
        return {}
    return {_MODEL: folded.digest, **folded.moments}


@_step
def commit(study_id: str, number: int, attempt: int, folded: dict[str, str]) -> bool:
    """Make the folded model the global model; False where the study was stopped meanwhile."""
    moments = {name: digest for name, digest in folded.items() if name != _MODEL}
    return rounds.commit_round(engine_services(), RoundKey(study_id, number, attempt), folded[_MODEL], moments)


@_step
def commit_validation(study_id: str, number: int) -> None:
    """Close the validating round."""
    rounds.commit_validation(engine_services(), RoundKey(study_id, number, 1))


@_step
def register_model(study_id: str) -> None:
    """Register the final model, with its lineage, and have it evaluated."""
    finish.register_model(engine_services(), study_id)


@_step
def rest(study_id: str, attempt: int) -> None:
    """Wait a little before a round is tried again; not at all where the study has ended."""
    seen = wakeups().count(study_id)
    with engine_services().database.reading() as session:
        study = session.get_one(Study, study_id)
        vetoed = rounds.was_vetoed(session, study_id)
    if study.state not in STUDY.final and not vetoed:
        wakeups().wait(study_id, seen, pause_before_retry(plan_of(study).deadline_seconds, attempt - 1))


@_step
def give_up(study_id: str, number: int) -> None:
    """End the study after its last attempt at a round, with that attempt's reason."""
    finish.fail_study(engine_services(), study_id, rounds.last_code(engine_services(), study_id, number))


@_step
def fail(study_id: str, code: str) -> None:
    """End the study with a reason."""
    finish.fail_study(engine_services(), study_id, code)


def _state(study_id: str) -> str:
    with engine_services().database.reading() as session:
        return session.get_one(Study, study_id).state
