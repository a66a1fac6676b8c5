"""A study from its plan to a registered model, over real HTTP with the node's own transfer code."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from safetensors.numpy import load_file, save_file
from sqlalchemy import select

from federation_hub.accounts.tables import AuditEntry
from federation_hub.client.simulation import Answer, Ask, SimulatedSite, Trainer, simulate
from federation_hub.config import HubConfig
from federation_hub.engine.engine import Engine
from federation_hub.evaluations.tables import Evaluation
from federation_hub.studies.tables import Study, StudyRound, StudyUpdate
from pipelines.bundles import read_bundle, weights_file
from silo_node.wire.course import KEPT_MODELS
from silo_node.wire.strategies import FedAdam
from tests.hub.running import START, Federation, running_hub
from tests.sites import Arrays, averaged, toy_plan

WEIGHTS = (10, 20, 30)


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path)
        yield made
        made.close()


def difference(place: int, number: int) -> Arrays:
    """What the site at this place "trains" in a round."""
    rng = np.random.default_rng([place, number])
    return {name: rng.normal(size=array.shape).astype(np.float32) for name, array in START.items()}


def do_round(federation: Federation, number: int, order: tuple[int, ...] = (0, 1, 2)) -> None:
    for place in order:
        site, door = federation.sites[place], federation.doors[place]
        site.answer_round(door, site.claim(door), lambda _, asked, place=place: difference(place, asked))


def test_the_model_is_the_weighted_average_of_every_round(federation: Federation) -> None:
    """Two rounds over three sites give exactly what federated averaging by the book gives in float64."""
    study_id = federation.running(rounds=2)
    for number in (1, 2):
        do_round(federation, number, order=(2, 0, 1))
    do_round(federation, 3)
    view = federation.researcher.wait_for(study_id, "completed", "failed")
    assert (view["state"], view["committed"]) == ("completed", 2)

    expected = START
    ids = [site.silo_id for site in federation.sites]
    for number in (1, 2):
        differences = {silo_id: difference(place, number) for place, silo_id in enumerate(ids)}
        expected = averaged(expected, differences, dict(zip(ids, WEIGHTS, strict=True)))
    final = federation.folder / "final.safetensors"
    weights_file(read_bundle(federation.weights(str(view["final_model"]))), final)
    found = load_file(final)
    assert {name: array.tobytes() for name, array in found.items()} == {
        name: array.tobytes() for name, array in expected.items()
    }


def test_the_final_model_has_its_lineage_and_is_evaluated_by_itself(federation: Federation) -> None:
    """The registered model names study, plan, base and folded updates; it stands on the benchmark at once."""
    study_id = federation.running(rounds=1)
    for number in (1, 2):
        do_round(federation, number)
    view = federation.researcher.wait_for(study_id, "completed", "failed")
    model = federation.researcher.do("GET", f"/models/{view['final_model']}")
    lineage = model["lineage"]
    assert isinstance(lineage, dict)
    assert (lineage["study"], lineage["plan_digest"]) == (study_id, view["plan_digest"])
    assert lineage["base_model"] == federation.model.digest
    assert [len(entry["updates"]) for entry in lineage["rounds"]] == [3]
    assert [place["state"] for place in model["benchmarks"]] == ["approved"]
    with federation.hub.services.database.reading() as session:
        wanted = {tuple(models) for models in session.scalars(select(Evaluation.models))}
    assert tuple(sorted([federation.model.digest, str(view["final_model"])])) in wanted


def test_scores_belong_to_the_model_that_came_in(federation: Federation) -> None:
    """What sites report in round r + 1 is the score of the model committed in round r, by cases and by site."""
    study_id = federation.running(rounds=1)
    for number, scores in ((1, (0.5, 0.6, 0.7)), (2, (0.8, 0.9, None))):
        for site, door, score in zip(federation.sites, federation.doors, scores, strict=True):
            task = site.claim(door)
            if number == 1:
                site.send(door, task, difference(0, 1), score=score)
            else:
                site.report(door, task, None, score=score)
    view = federation.researcher.wait_for(study_id, "completed", "failed")
    assert view["initial_score"] == pytest.approx(
        {"metric": "auroc", "by_cases": 0.6, "by_site": 0.6, "sites": 3}, abs=1e-12
    )
    first, last = view["rounds"]
    assert first["score"] == pytest.approx(
        {"metric": "auroc", "by_cases": 0.85, "by_site": 0.85, "sites": 2}, abs=1e-12
    )
    assert last["validate_only"]
    assert last["score"] is None


def test_no_update_stays_on_disk_and_each_is_folded_once(federation: Federation) -> None:
    study_id = federation.running(rounds=2)
    for number in (1, 2, 3):
        do_round(federation, number)
    federation.researcher.wait_for(study_id, "completed", "failed")
    with federation.hub.services.database.reading() as session:
        updates = session.scalars(select(StudyUpdate).where(StudyUpdate.digest.is_not(None))).all()
        folds = session.scalars(select(AuditEntry.subject).where(AuditEntry.action == "update.fold")).all()
        study = session.get_one(Study, study_id)
    assert [row.state for row in updates] == ["folded"] * 6
    assert len(folds) == len(set(folds)) == 6
    assert not any(federation.hub.services.blobs.has(str(row.digest)) for row in updates)
    assert federation.hub.services.blobs.has(str(study.weights_digest))


def test_the_same_bytes_may_be_sent_by_every_site_in_every_round(federation: Federation) -> None:
    """Equal updates share one blob; deleting what is spent never takes what is still needed."""
    study_id = federation.running(rounds=3)
    zero = {name: np.zeros_like(array) for name, array in START.items()}
    for _ in range(3):
        for site, door in zip(federation.sites, federation.doors, strict=True):
            site.answer_round(door, site.claim(door), lambda weights, number: zero)
    do_round(federation, 4)
    view = federation.researcher.wait_for(study_id, "completed", "failed")
    assert (view["state"], view["committed"]) == ("completed", 3)


def test_a_round_is_open_until_the_last_site_has_answered(federation: Federation) -> None:
    study_id = federation.running(rounds=1)
    do_round(federation, 1, order=(0, 1))
    view = federation.researcher.study(study_id)
    assert [update["state"] for update in view["rounds"][0]["updates"]].count("verified") == 2
    assert view["rounds"][0]["state"] == "collecting"
    do_round(federation, 1, order=(2,))
    do_round(federation, 2)
    federation.researcher.wait_for(study_id, "completed")


def test_every_transition_is_on_the_audit_trail(federation: Federation) -> None:
    study_id = federation.running(rounds=1)
    for number in (1, 2):
        do_round(federation, number)
    federation.researcher.wait_for(study_id, "completed")
    with federation.hub.services.database.reading() as session:
        entries = session.scalars(
            select(AuditEntry).where(AuditEntry.subject.startswith(study_id)).order_by(AuditEntry.id)
        ).all()
        rounds = session.scalars(select(StudyRound)).all()
    assert [entry.after for entry in entries if entry.subject == study_id] == [
        "draft",
        "recruiting",
        "running",
        "completed",
    ]
    assert [entry.after for entry in entries if entry.subject == f"{study_id}/1.1"] == [
        "open",
        "collecting",
        "aggregating",
        "committed",
    ]
    assert all(found.state == "committed" for found in rounds)


ADAM = FedAdam(learning_rate=0.1)


def adam_by_the_book(federation: Federation, rounds: int) -> Arrays:
    """Return the model after rounds of FedAdam over these sites, in float64 with moments kept in float32."""
    ids = [site.silo_id for site in federation.sites]
    zero = {name: np.zeros_like(array) for name, array in START.items()}
    model, first = START, zero
    second = {name: np.full_like(array, ADAM.adaptivity**2) for name, array in START.items()}
    for number in range(1, rounds + 1):
        differences = {silo_id: difference(place, number) for place, silo_id in enumerate(ids)}
        for name in model:
            change = sum(w * differences[i][name].astype(np.float64) for i, w in sorted(zip(ids, WEIGHTS, strict=True)))
            change = change / 60
            m = ADAM.beta1 * first[name].astype(np.float64) + (1 - ADAM.beta1) * change
            v = ADAM.beta2 * second[name].astype(np.float64) + (1 - ADAM.beta2) * change**2
            step = ADAM.learning_rate * m / (np.sqrt(v) + ADAM.adaptivity)
            model = model | {name: (step + model[name]).astype(np.float32)}
            first = first | {name: m.astype(np.float32)}
            second = second | {name: v.astype(np.float32)}
    return model


def test_the_servers_moments_are_committed_with_the_round_and_swept_with_it(federation: Federation) -> None:
    """A study by FedAdam goes on from the moments of the last round; those of long ago leave the disk with the models.

    In mid-round the engine is stopped and another launched: the new one finds the moments where the old one left them.
    """
    rounds = KEPT_MODELS
    study_id = federation.running(rounds=rounds, strategy=ADAM.model_dump())
    services = federation.hub.services
    for number in range(1, rounds + 1):
        do_round(federation, number, order=(2, 0, 1))
        if number == 2:
            assert services.engine is not None
            services.engine.shutdown()
            again = Engine(services.config)
            again.launch(services)
    try:
        do_round(federation, rounds + 1)
        view = federation.researcher.wait_for(study_id, "completed", "failed")
    finally:
        again.shutdown()
    assert view["state"] == "completed"
    with services.database.reading() as session:
        study = session.get_one(Study, study_id)
        kept = [
            all(services.blobs.has(digest) for digest in found.moments.values())
            for found in session.scalars(select(StudyRound).where(StudyRound.moments.is_not(None)))
            if found.moments
        ]
    expected = adam_by_the_book(federation, rounds)
    for name, array in load_file(services.blobs.path(str(study.weights_digest))).items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-6, atol=1e-7)
    assert kept == [False] + [True] * (rounds - 1), "the validating round sweeps, too"
    assert set(study.moments or {}) == {"first", "second"}


def test_a_simulation_gives_the_federations_models_bit_for_bit(federation: Federation, tmp_path: Path) -> None:
    """The same updates, by a rule that trims and an optimiser with two moments: the same bytes after every round."""
    words = {"strategy": "fedyogi", "robust": "trimmed_mean", "norm_bound": 1e6}
    study_id = federation.running(rounds=2, **words)
    for number in (1, 2, 3):
        do_round(federation, number, order=(1, 2, 0))
    federation.researcher.wait_for(study_id, "completed", "failed")

    def trainer(place: int) -> Trainer:
        def train(ask: Ask) -> Answer:
            path = tmp_path / f"{place}.{ask.round}"
            save_file(difference(place, ask.round), path)
            return Answer(path, 0.5)

        return train

    sites = [SimulatedSite(site.silo_id, WEIGHTS[place], trainer(place)) for place, site in enumerate(federation.sites)]
    start = tmp_path / "start.safetensors"
    weights_file(read_bundle(federation.weights(federation.model.digest)), start)
    plan = toy_plan(federation.model, federation.sites, **words)
    simulated = simulate(plan, start, sites, tmp_path)
    with federation.hub.services.database.reading() as session:
        rounds = session.scalars(
            select(StudyRound).where(StudyRound.validate_only.is_(False)).order_by(StudyRound.number)
        )
        committed = [(found.weights_digest, found.moments) for found in rounds]
    assert [(made.folded.digest, made.folded.moments) for made in simulated.committed if made.folded] == committed


def test_noise_at_the_hub_is_counted_and_a_study_ends_when_its_promise_is_used_up(federation: Federation) -> None:
    """With noise no norm is told beside it, and not one noisy mean more is made than was planned."""
    promise = {"unit": "silo", "epsilon": 20.0, "clipping_norm": 0.5, "spare_rounds": 0}
    study_id = federation.running(rounds=2, privacy=promise)
    do_round(federation, 1)
    site, door = federation.sites[0], federation.doors[0]
    task = site.claim(door)  # the second round is open, so the first mean was made
    view = federation.researcher.do("GET", f"/studies/{study_id}")
    assert all(update["norm"] is None for entry in view["rounds"] for update in entry["updates"])
    sheet = federation.researcher.do("GET", f"/studies/{study_id}/privacy")
    assert (sheet["unit"], sheet["epsilon"]) == ("silo", 20.0)
    page = requests.get(f"{federation.hub.url}/studies/{study_id}/privacy", timeout=60)
    assert "must be trusted to add it" in page.text
    with federation.hub.services.database.session() as session:
        study = session.get_one(Study, study_id)
        assert study.private == {"folds": 1, "clipping_norm": 0.5}
        study.private = {**study.private, "folds": 2}  # as after a roll-back
    site.answer_round(door, task, lambda _, asked: difference(0, asked))
    do_round(federation, 2, order=(1, 2))
    found = federation.researcher.wait_for(study_id, "completed", "failed")
    assert (found["state"], found["code"], found["committed"]) == ("failed", "privacy-spent", 1)
