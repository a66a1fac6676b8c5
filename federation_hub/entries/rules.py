"""When an organisation may enter a model, and which of its entries are told of: pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from federation_hub.states import Machine
from silo_node.wire.benchmarks import BenchmarkDefinition, Direction
from silo_node.wire.phases import PhaseSpec, SubmissionLimits

VISIBILITY = Machine(
    "entry",
    # What was public stays public: a bad result cannot be hidden once it was seen.
    {"publish": {"private": "public", "embargoed": "public"}, "embargo": {"private": "embargoed"}},
)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An entry the same organisation made before on the same benchmark version, and was not rejected."""

    phase: str | None
    at: datetime
    passed: bool
    """A hospital has reported it, and it is not under the floor."""


def phase_refusal(
    definition: BenchmarkDefinition, wanted: str | None, earlier: Sequence[Earlier], at: datetime
) -> str | None:
    """Return the code for which a benchmark takes no model of an organisation now, or None."""
    if wanted is not None and all(phase.name != wanted for phase in definition.phases):
        return "phase-unknown"
    phase = phase_at(definition.phases, wanted, at)
    if definition.phases and phase is None:
        return "phase-closed"
    if phase is not None and phase.parent is not None and not _passed(phase.parent, earlier):
        return "parent-phase-missing"
    if definition.submissions is not None:
        refusal = limit_refusal(definition.submissions, [entry.at for entry in earlier], at)
        if refusal is not None:
            return refusal
    return (
        limit_refusal(phase.submissions, [one.at for one in earlier if one.phase == phase.name], at) if phase else None
    )


def phase_at(phases: Iterable[PhaseSpec], wanted: str | None, at: datetime) -> PhaseSpec | None:
    """Return the phase a model enters: the one that is wanted, else the open one that opened last."""
    opened = [phase for phase in phases if phase.opens <= at and (phase.closes is None or at < phase.closes)]
    return next((phase for phase in reversed(opened) if wanted in (None, phase.name)), None)


def limit_refusal(limits: SubmissionLimits, earlier: Sequence[datetime], at: datetime) -> str | None:
    """Return the code of the limit another entry would be over, the soonest to end first; days and months are UTC's."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    counts = (
        ("submission-limit-phase", limits.in_all, len(earlier)),
        ("submission-limit-month", limits.a_month, sum(one >= midnight.replace(day=1) for one in earlier)),
        ("submission-limit-day", limits.a_day, sum(one >= midnight for one in earlier)),
    )
    return next((code for code, limit, count in counts if limit is not None and count >= limit), None)


def no_gain(attempts: Iterable[tuple[str, float | None]], step: float, direction: Direction) -> Mapping[str, str]:
    """Return the models the Ladder mechanism keeps silent about, each with the best model before it.

    ``attempts`` are one organisation's models in a phase with their scores, in the order in which they were entered.
    A model is told of only where it is better than the best told before by more than ``step``: an organisation learns
    at most 1 / ``step`` times anything but that it has not improved (Blum and Hardt, ICML 2015, algorithm 1).
    """
    sign = 1.0 if direction == "higher" else -1.0
    silent: dict[str, str] = {}
    best: tuple[str, float] | None = None
    for model, score in attempts:
        if score is None:
            continue
        # Nine decimals are more than a block tells, and 0.75 is not better than 0.70 by more than 0.05.
        if best is None or round(sign * (score - best[1]), 9) > step:
            best = (model, score)
        else:
            silent[model] = best[0]
    return silent


def _passed(parent: str, earlier: Iterable[Earlier]) -> bool:
    return any(entry.phase == parent and entry.passed for entry in earlier)
