"""What a federation is worth to each site: its model beside what the site reaches alone, or all reach together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from federation_hub.client.simulation import Ask, SimulatedModel, SimulatedSite, Simulation, simulate
from federation_hub.studies.baseline import averaging_twin
from silo_node.wire.studies import StudyPlan

Open = Callable[[StudyPlan, str], Sequence[SimulatedSite]]
"""``(plan, name)``: open the plan's sites afresh, with files under that name."""


@dataclass(frozen=True)
class SiteComparison:
    """One site's validation scores: the study's model, its personal one, alone, by plain averaging, and pooled."""

    silo_id: str
    shared: float | None
    personal: float | None
    alone: float | None
    fedavg: float | None
    pooled: float | None


def beside_alone(plan: StudyPlan) -> StudyPlan:
    """Return the plan with a model trained at each site alone; the global models stay the same, bit for bit."""
    return plan.model_copy(update={"evaluation": plan.evaluation.model_copy(update={"alone": True})})


def plain(plan: StudyPlan, silos: tuple[str, ...]) -> StudyPlan:
    """Return the plan with federated averaging in its simplest form over these silos."""
    return averaging_twin(plan).model_copy(update={"silos": silos, "quorum": len(silos)})


def compare(
    plan: StudyPlan, done: Simulation, start: Path, opened: Open, folder: Path, *, higher: bool
) -> list[SiteComparison]:
    """Return each site's scores of the study's own model and of the baselines, all on the same validation cases.

    ``done`` is the simulation of a plan with :func:`beside_alone`. Pooling is one site that holds every case, with as
    many rounds; only whoever may hold all the data can know it.
    """
    folders = {name: folder / name for name in ("fedavg", "pooled")}
    for path in folders.values():
        path.mkdir(parents=True, exist_ok=True)
    averaging = plain(plan, plan.silos)
    sites = opened(averaging, "fedavg")
    fedavg = simulate(averaging, start, sites, folders["fedavg"], higher=higher).final
    together = plain(plan, ("silo-pooled",))
    pooled = simulate(together, start, opened(together, "pooled"), folders["pooled"], higher=higher).final
    by_average, by_pooled = (_scores(sites, model, plan.rounds + 2) for model in (fedavg, pooled))
    answers = told_of(done)
    return [
        SiteComparison(silo, *answers.get(silo, (None, None, None)), by_average.get(silo), by_pooled.get(silo))
        for silo in plan.silos
    ]


def told_of(done: Simulation) -> dict[str, tuple[float | None, float | None, float | None]]:
    """Return what each site told of the registered model, of its personal one and of the one alone, at that time."""
    for entry in reversed(done.rounds):
        if done.final is not None and entry.base.made == done.final.made:
            return {silo: (told.shared, told.personal, told.alone) for silo, told in entry.answers.items()}
    return {}


def _scores(sites: Sequence[SimulatedSite], model: SimulatedModel | None, number: int) -> dict[str, float | None]:
    if model is None:
        return {}
    ask = Ask(model.path, number, validate_only=True)
    return {site.silo_id: site.train(ask).shared for site in sites}
