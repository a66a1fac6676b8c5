"""A study without an aggregator in one process: the same mixing and the same training as at real sites."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from federation_hub.client.simulation import Answer, Ask, SimulatedSite
from pipelines.job import Mixing, Neighbourhood
from silo_node.wire.neighbours import Decentralised
from silo_node.wire.studies import StudyPlan


@dataclass(frozen=True)
class MixedRound:
    """One round: each site's score of the model it mixed, and how many neighbours' models went into it."""

    number: int
    scores: dict[str, float | None]
    heard: dict[str, int]
    models: dict[str, Path]


def simulate_neighbours(
    plan: StudyPlan, graph: Decentralised, start: Path, sites: Sequence[SimulatedSite]
) -> list[MixedRound]:
    """Run a plan's rounds, and the last one in which nobody trains; a site whose round failed shows no model."""
    done: list[MixedRound] = []
    own = {site.silo_id: start for site in sites}
    shown: dict[str, Path] = {}
    gammas: dict[str, float] = {}
    for number in range(1, plan.rounds + 2):
        answers = {
            site.silo_id: site.train(_asked(plan, graph, site.silo_id, number, own[site.silo_id], shown, gammas))
            for site in sites
        }
        _remember_gammas(gammas, answers)
        shown = {silo: answer.update for silo, answer in answers.items() if answer.update is not None}
        own |= shown
        heard = {
            silo: sum(pull > 0 for pull in answer.mixed.pulls) if answer.mixed else 0
            for silo, answer in answers.items()
        }
        done.append(MixedRound(number, {silo: answer.value for silo, answer in answers.items()}, heard, dict(own)))
    return done


def _asked(
    plan: StudyPlan,
    graph: Decentralised,
    silo: str,
    number: int,
    own: Path,
    shown: dict[str, Path],
    gammas: dict[str, float],
) -> Ask:
    seen = {"gamma": gammas[silo]} if silo in gammas else {}
    around = Neighbourhood(
        mixing=Mixing.model_validate(graph.rule.model_dump(exclude_none=True) | seen),
        beside=tuple(shown[other] for other in graph.neighbours(silo) if other in shown),
        progress=min(1.0, (number - 1) / plan.rounds),
    )
    return Ask(weights=own, round=number, validate_only=number > plan.rounds, neighbourhood=around)


def _heard(answer: Answer) -> int:
    return sum(pull > 0 for pull in answer.mixed.pulls) if answer.mixed else 0


def _remember_gammas(gammas: dict[str, float], answers: dict[str, Answer]) -> None:
    for silo, answer in answers.items():
        if answer.mixed is not None and answer.mixed.pulls and answer.mixed.gamma is not None:
            gammas.setdefault(silo, answer.mixed.gamma)
