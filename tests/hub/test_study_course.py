"""The course of a study at the hub and in the simulation: vetoes, the best model, an early stop, stale updates."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from safetensors.numpy import save_file
from sqlalchemy import select

from federation_hub.client.arrivals import Arrivals
from federation_hub.client.simulation import Answer, Ask, SimulatedSite, Simulation, simulate
from federation_hub.client.studies import report_round
from federation_hub.config import HubConfig
from federation_hub.engine.engine import Engine
from federation_hub.models.tables import Model
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from pipelines.bundles import read_bundle, weights_file
from silo_node.wire.course import Verdict
from silo_node.wire.digests import digest_file
from silo_node.wire.studies import LocalTraining, RoundTask, SiteScore, StudyPlan
from silo_node.wire.tasks import Task
from tests.hub.running import Federation, running_hub
from tests.hub.test_study_rounds import WEIGHTS, difference
from tests.sites import toy_plan

STEPS = LocalTraining(optimiser="sgd", momentum=0.0, learning_rate=0.1).model_dump()


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path)
        yield made
        made.close()


@dataclass
class Script:
    """What each site says of each model it is shown, by how many models it saw before: a score and a verdict."""

    scores: list[float]
    vetoes: dict[int, int] = field(default_factory=dict)
    """How many sites veto the model that is shown at a place."""

    def told(self, place: int, shown: int) -> tuple[float, Verdict]:
        vetoed = place < self.vetoes.get(shown, 0)
        return self.scores[shown], "vetoed" if vetoed else "accepted"


def answer(federation: Federation, place: int, script: Script | None = None, shown: int = 0) -> RoundTask:
    """Let one site claim its next task and answer it; return what it was asked."""
    task = federation.sites[place].claim(federation.doors[place])
    return finish(federation, place, task, script, shown)


def finish(federation: Federation, place: int, task: Task, script: Script | None = None, shown: int = 0) -> RoundTask:
    site, door, body = federation.sites[place], federation.doors[place], task.body
    assert isinstance(body, RoundTask)
    score, verdict = script.told(place, shown) if script else (0.5, None)
    beside = {"personal": score + 0.05, "alone": score - 0.1} if script else {}
    told = {"score": score, "verdict": verdict} | {
        name: SiteScore(metric="auroc", value=round(value, 4), cases=20) for name, value in beside.items()
    }
    if body.validate_only:
        site.report(door, task, None, **told)
    else:
        site.send(door, task, difference(place, body.round), **told)
    return body


def simulated(
    federation: Federation,
    folder: Path,
    plan: StudyPlan,
    script: Script | None = None,
    arrivals: Arrivals | None = None,
) -> Simulation:
    """Run the same plan over sites that say and send the same."""

    def trainer(place: int) -> Callable[[Ask], Answer]:
        seen: list[Path] = []

        def train(ask: Ask) -> Answer:
            path = folder / f"{place}.{ask.round}"
            save_file(difference(place, ask.round), path)
            score, verdict = script.told(place, len(seen)) if script else (0.5, None)
            seen.append(ask.weights)
            return Answer(None if ask.validate_only else path, score, 20, verdict)

        return train

    sites = [SimulatedSite(site.silo_id, WEIGHTS[place], trainer(place)) for place, site in enumerate(federation.sites)]
    start = folder / "start.safetensors"
    weights_file(read_bundle(federation.weights(federation.model.digest)), start)
    return simulate(plan, start, sites, folder, arrivals=arrivals)


def test_vetoes_roll_a_study_back_and_its_best_model_is_registered(federation: Federation, tmp_path: Path) -> None:
    """The third model is vetoed, by two of three sites, and the engine ends in the middle of it.

    With control variates, so that they are rolled back, too. Every model is the simulation's, bit for bit.
    """
    script = Script([0.5, 0.7, 0.9, 0.2, 0.9, 0.8], vetoes={2: 1, 3: 2})
    words = {"rounds": 4, "strategy": "scaffold", "local": STEPS, "gate": {"vetoes": 2}}
    study_id = federation.running(**words)
    asked: list[list[RoundTask]] = []
    services, engine = federation.hub.services, None
    for shown in range(6):
        asked.append([answer(federation, place, script, shown) for place in (2, 0, 1)])
        if shown == 3:
            assert services.engine is not None
            services.engine.shutdown()
            engine = Engine(services.config)
            engine.launch(services)
    try:
        view = federation.researcher.wait_for(study_id, "completed", "failed")
    finally:
        if engine is not None:
            engine.shutdown()
    assert view["state"] == "completed", view["code"]
    attempts = [(r["round"], r["attempt"], r["state"], r["code"], r["base_round"]) for r in view["rounds"]]
    assert attempts == [
        (1, 1, "committed", None, 0),
        (2, 1, "committed", None, 1),
        (3, 1, "revoked", "model-vetoed", 2),
        (4, 1, "abandoned", "model-vetoed", 3),
        (4, 2, "committed", None, 2),
        (5, 1, "committed", None, 4),
    ]
    assert asked[4][0].weights == asked[2][0].weights
    assert asked[4][0].control == asked[2][0].control != asked[3][0].control
    assert [bodies[0].standing for bodies in asked] == [0, 1, 2, 3, 2, 4]
    assert asked[0][0].control is None
    assert view["best_round"] == 2
    (curve,) = [curve for curve in view["curves"] if curve["silo_id"] == federation.sites[2].silo_id]
    assert [(point["made"], point["score"], point["verdict"]) for point in curve["points"]] == [
        (0, 0.5, "accepted"), (1, 0.7, "accepted"), (2, 0.9, "accepted"), (3, 0.2, "accepted"), (4, 0.8, "accepted"),
    ]  # fmt: skip
    page = " ".join(federation.researcher.page(f"/studies/{study_id}").split())
    for words_of in ("rolled back: sites vetoed its model", "abandoned: sites vetoed the global model", "0.900"):
        assert words_of in page, words_of
    assert "What each site gets" in page
    assert report_round(view) == 2
    assert (curve["points"][2]["personal"], curve["points"][2]["alone"]) == (0.95, 0.8)

    done = simulated(federation, tmp_path, toy_plan(federation.model, federation.sites, **words), script)
    with services.database.reading() as session:
        rounds = session.scalars(
            select(StudyRound).where(StudyRound.weights_digest.is_not(None)).order_by(StudyRound.number)
        ).all()
        study = session.get_one(Study, study_id)
        final = session.get_one(Model, study.final_model_digest)
    assert [(m.folded.digest, m.folded.moments) for m in done.committed if m.folded] == [
        (found.weights_digest, found.moments) for found in rounds
    ]
    assert done.rolled_back == [3]
    assert done.final is not None
    assert (done.final.made, digest_file(done.final.path)) == (2, study.best_digest)
    weights_file(read_bundle(federation.weights(str(study.final_model_digest))), tmp_path / "final")
    assert digest_file(tmp_path / "final") == study.best_digest
    assert [entry["round"] for entry in (final.lineage or {})["rounds"]] == [1, 2]


def test_the_stop_rule_ends_the_training_and_a_late_joiner_begins_from_nought(
    federation: Federation, tmp_path: Path
) -> None:
    """The third site agrees when the study runs already; the second and third model are no better than the first."""
    script = Script([0.5, 0.7, 0.7, 0.6])
    words = {"rounds": 9, "quorum": 2, "strategy": "scaffold", "local": STEPS, "evaluation": {"patience": 2}}
    study_id = federation.create(**words)
    for place in (0, 1):
        federation.sites[place].consent(federation.doors[place])
    federation.start(study_id)
    first = federation.sites[0].claim(federation.doors[0])
    federation.sites[2].consent(federation.doors[2])
    finish(federation, 0, first, script, 0)
    answer(federation, 1, script, 0)
    for shown in (1, 2, 3):
        bodies = [answer(federation, place, script, shown) for place in (0, 1, 2)]
        assert [body.standing for body in bodies] == [shown, shown, 0 if shown == 1 else shown]
        assert bodies[2].control is not None
    view = federation.researcher.wait_for(study_id, "completed", "failed")
    assert (view["state"], view["committed"], view["best_round"]) == ("completed", 3, 2)
    assert (view["rounds"][-1]["state"], view["rounds"][-1]["code"]) == ("abandoned", "stop-rule-met")
    assert view["final_model"] is not None


def test_a_buffered_study_waits_for_nobody_and_counts_stale_updates_less(
    federation: Federation, tmp_path: Path
) -> None:
    """The slowest site's update starts from the first model and is counted in the third round, at 3 ** -0.5.

    Given who answered when, the simulation makes the same models, bit for bit.
    """
    words = {"rounds": 3, "quorum": 2, "schedule": "buffered"}
    study_id = federation.running(**words)
    slow = federation.sites[2].claim(federation.doors[2])
    for number in (1, 2):
        assert [answer(federation, place).round for place in (1, 0)] == [number, number]
    fresh = federation.sites[0].claim(federation.doors[0])
    assert isinstance(fresh.body, RoundTask)
    assert fresh.body.round == 3
    finish(federation, 2, slow)
    finish(federation, 0, fresh)
    for place in (0, 1, 2):
        while not answer(federation, place).validate_only:  # whoever was at work again when training ended
            pass
    view = federation.researcher.wait_for(study_id, "completed", "failed")
    assert view["state"] == "completed", view["code"]
    with federation.hub.services.database.reading() as session:
        updates = session.scalars(select(StudyUpdate).where(StudyUpdate.state == "folded")).all()
        rounds = session.scalars(select(StudyRound).where(StudyRound.weights_digest.is_not(None))).all()
        committed = [found.weights_digest for found in sorted(rounds, key=lambda found: found.number)]
    order: list[dict[str, int]] = [{}, {}, {}]
    for row in updates:
        order[row.number - 1][row.silo_id] = row.started or 0
    ids = [site.silo_id for site in federation.sites]
    assert order == [{ids[0]: 1, ids[1]: 1}, {ids[0]: 2, ids[1]: 2}, {ids[0]: 3, ids[2]: 1}]
    plan = toy_plan(federation.model, federation.sites, **words)
    done = simulated(federation, tmp_path, plan, arrivals=Arrivals.given(order))
    assert [model.folded.digest for model in done.committed if model.folded] == committed
    assert done.final is done.committed[-1]


def test_a_paced_simulation_lets_the_fast_sites_go_ahead() -> None:
    """Sites of one, two and five seconds and a buffer of two: the slow one's update is two rounds old."""
    arrivals = Arrivals.paced({"a": 1.0, "b": 2.0, "c": 5.0}, 2)
    begun, seen = {"a": 1, "b": 1, "c": 1}, []
    for number in range(1, 4):
        found = arrivals.next(number, begun)
        seen.append(dict(found))
        begun = {silo: number + 1 if silo in found else started for silo, started in begun.items()}
    assert seen == [{"a": 1, "b": 1}, {"a": 2, "b": 2}, {"a": 3, "c": 1}]
