"""What the sites' scores decide about a study, as pure functions: the best model, a roll-back, an early stop.

The hub's workflow and the simulation both ask these, with the same answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from federation_hub.studies.rules import MeanScore, mean_score
from silo_node.wire.course import Buffered, Evaluation, Verdict
from silo_node.wire.studies import StudyPlan

Outcome = Literal["close", "roll-back", "stop"]


@dataclass(frozen=True, slots=True)
class Told:
    """What one site told of the global model a round started from."""

    value: float | None
    cases: int
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """A global model that sites scored and that stands: by the round that made it (0 at the start), and its score."""

    made: int
    score: float | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a closed round: fold it, go back to the model of round ``restore``, or end the training."""

    outcome: Outcome
    score: float | None
    restore: int = 0


def overall(told: Sequence[Told], evaluation: Evaluation, *, higher: bool) -> float | None:
    """Return one score of a model over sites, as the plan asks for it; None where no site could tell a value."""
    known = [(site.value, site.cases) for site in told if site.value is not None]
    mean: MeanScore | None = mean_score(known)
    if mean is None:
        return None
    if evaluation.by == "worst":
        return (min if higher else max)(value for value, _ in known)
    return mean.by_cases if evaluation.by == "cases" else mean.by_site


def judge(plan: StudyPlan, made: int, told: Sequence[Told], standing: Sequence[Scored], *, higher: bool) -> Judgement:
    """Judge the model of round ``made`` by what the sites told of it; ``standing`` are the models judged before.

    The starting model cannot be rolled back: there is nothing before it.
    """
    score = overall(told, plan.evaluation, higher=higher)
    earlier = [model for model in standing if model.made < made]
    vetoes = sum(site.verdict == "vetoed" for site in told)
    if plan.gate is not None and made > 0 and vetoes >= plan.gate.vetoes:
        return Judgement("roll-back", score, max((model.made for model in earlier), default=0))
    ended = converged([*earlier, Scored(made, score)], plan.evaluation, higher=higher)
    return Judgement("stop" if ended else "close", score)


def best_of(standing: Sequence[Scored], *, higher: bool) -> Scored | None:
    """Return the best model that was trained at all; of equally good ones, the last."""
    sign = 1 if higher else -1
    known = [
        (sign * model.score, model.made, model) for model in standing if model.score is not None and model.made > 0
    ]
    return max(known, key=lambda entry: entry[:2])[2] if known else None


def keeps_best(plan: StudyPlan) -> bool:
    """Tell whether the best model is registered; a buffered study's are not scored by all sites, so the last one is."""
    return plan.evaluation.keep == "best" and not isinstance(plan.schedule, Buffered)


def converged(standing: Sequence[Scored], evaluation: Evaluation, *, higher: bool) -> bool:
    """Tell whether the last ``patience`` scored models were no better than the best before them."""
    scores = [model.score if higher else -model.score for model in standing if model.score is not None]
    if evaluation.patience is None or len(scores) <= evaluation.patience:
        return False
    before, last = scores[: -evaluation.patience], scores[-evaluation.patience :]
    return max(last) <= max(before) + evaluation.least_gain
