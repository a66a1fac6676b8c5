"""The course of a study: when models are scored at the sites, when the study stops, what a site may refuse, and pace.

What decides is pure, and both sides and the simulation call the same functions.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, model_validator

from silo_node.wire.base import Message

KEPT_MODELS = 5
"""Global models kept on the hub's disk, so that one that turns out bad can be rolled back."""

Verdict = Literal["accepted", "kept-own", "vetoed"]
"""What a site makes of the incoming global model: it trains on from it, from its own instead, or wants it gone."""

Loss = Annotated[float, Field(ge=0, le=1000)]


class Evaluation(Message):
    """How often the sites score the global model, which model is kept in the end, and when the study stops early."""

    every: Annotated[int, Field(ge=1, le=1000)] = 1
    """Every so many rounds' model is scored; the first and the last always are."""

    keep: Literal["best", "last"] = "best"
    """Which of the scored models the study registers; of equally good ones, the later."""

    by: Literal["cases", "sites", "worst"] = "cases"
    """What a model's score is over sites: the mean by validation cases, by sites alike, or the worst site's value."""

    patience: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Stop after so many scored models in a row that are no better than the best one before them."""

    least_gain: Loss = 0.0
    """By how much a score must exceed the best one to be called better by the stop rule."""

    alone: bool = False
    """Also train, at each site and for itself alone, a model that never sees another site, to compare with."""


class Gate(Message):
    """What a site does with a global model that is worse on its own validation cases than the best it accepted."""

    tolerance: Loss = 0.02
    """A model worse by more than this is not trained on from: the site goes on from its own."""

    veto: Loss = 0.1
    """A model worse by more than this is vetoed."""

    vetoes: Annotated[int, Field(ge=1, le=1000)] = 1
    """So many vetoes roll the study back to the last model that was not vetoed."""

    @model_validator(mode="after")
    def _ordered(self) -> "Gate":
        if self.veto < self.tolerance:
            raise ValueError("a veto must ask for a larger loss than the tolerance")
        return self


class InRounds(Message):
    """Every round waits for its silos until the deadline."""

    name: Literal["rounds"] = "rounds"


class Buffered(Message):
    """FedBuff (Nguyen et al. 2022): a new model as soon as ``quorum`` updates are there, whoever is still training.

    An update that started from a model ``s`` rounds old counts ``(1 + s) ** -staleness_exponent``.
    """

    name: Literal["buffered"] = "buffered"
    staleness_exponent: Annotated[float, Field(ge=0, le=10)] = 0.5
    max_staleness: Annotated[int, Field(ge=0, le=KEPT_MODELS - 1)] = KEPT_MODELS - 1
    """A silo whose model is older than this is called off and gets the newest."""


def _named(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Schedule = Annotated[InRounds | Buffered, Discriminator("name"), BeforeValidator(_named)]


def is_scored(evaluation: Evaluation, rounds: int, models: int) -> bool:
    """Tell whether the model after so many rounds of training is scored at the sites."""
    return models in (0, rounds) or models % evaluation.every == 0


def standing_scores(entries: Sequence[tuple[str, float | None, Verdict]], base: str) -> list[float]:
    """Return the scores of the models a site accepted before ``base``, from its ``(model, score, verdict)`` in order.

    A model that comes again was rolled back to, or its round is tried again: what came after it no longer stands.
    """
    first = next((place for place, entry in enumerate(entries) if entry[0] == base), len(entries))
    return [value for _, value, verdict in entries[:first] if verdict == "accepted" and value is not None]


def reference_of(accepted: Sequence[float], *, higher: bool) -> float | None:
    """Return the best score of the models accepted at a site, or None before the first."""
    return (max if higher else min)(accepted) if accepted else None


def verdict_on(gate: Gate, value: float | None, reference: float | None, *, higher: bool) -> Verdict:
    """Judge a global model by its score at a site and the best one accepted there before.

    A site that cannot tell a value accepts: a veto needs a reason.
    """
    if value is None or reference is None:
        return "accepted"
    loss = reference - value if higher else value - reference
    if loss > gate.veto:
        return "vetoed"
    return "kept-own" if loss > gate.tolerance else "accepted"


def discount(schedule: Schedule, staleness: int) -> float:
    """Return what an update counts that started from a model so many rounds old."""
    return float((1 + staleness) ** -schedule.staleness_exponent) if isinstance(schedule, Buffered) else 1.0
