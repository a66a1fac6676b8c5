"""Compressed updates over real HTTP: a level agreed with each site, a simulation's bytes, hostile files refused."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from federation_hub.aggregation.decoding import unpack
from federation_hub.client.simulation import Answer, Ask, SimulatedSite, Trainer, simulate
from federation_hub.config import HubConfig
from federation_hub.studies.tables import Study
from pipelines.compression.files import MAGIC
from silo_node.agent.compressed import compress_update
from silo_node.identity import load_identity
from silo_node.state import Home
from silo_node.wire.cohorts import AssociationDecision
from silo_node.wire.compression import Int8, Lossless, TopK, at_level
from silo_node.wire.envelope import seal
from silo_node.wire.studies import RoundTask
from silo_node.wire.tasks import ClaimRequest, Task
from tests.hub.running import START, Federation, running_hub
from tests.sites import Arrays, Site, averaged, toy_plan


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path)
        yield made
        made.close()


def difference(place: int, number: int) -> Arrays:
    rng = np.random.default_rng([place, number])
    return {name: np.asarray(rng.normal(size=array.shape), np.float32) for name, array in START.items()}


def send(federation: Federation, place: int, task: Task, sent_as: str | None = None) -> str | None:
    """Do a round as the node does: compress with the residual kept at the site, upload, report."""
    site, door, body = federation.sites[place], federation.doors[place], task.body
    assert isinstance(body, RoundTask)
    path = trained(site, place, body.round)
    level = at_level(body.plan.compression, sent_as or body.plan.compression.level)
    sent = compress_update(site.home, body.study_id, body.round, path, level)
    return site.report(door, task, door.upload(sent, "update"), sent_as=sent_as).code


def agree_on(federation: Federation, offers: Sequence[tuple[str, ...] | None]) -> None:
    """Let every site say yes, and with it which levels it can and will send."""
    for site, door, levels in zip(federation.sites, federation.doors, offers, strict=True):
        for asked in door.claim(ClaimRequest(kinds=("round",))).consents:
            decision = AssociationDecision(
                association_id=asked.association_id, silo_id=site.silo_id, approve=True, levels=levels
            )
            door.decide(asked.association_id, seal(decision, load_identity(site.home).key))


def trained(site: Site, place: int, number: int) -> Path:
    site.home.outbox.mkdir(exist_ok=True)
    path = site.home.outbox / "trained.safetensors"
    save_file(difference(place, number), path)
    return path


def simulated_trainer(folder: Path, place: int) -> Trainer:
    def train(ask: Ask) -> Answer:
        if ask.validate_only:
            return Answer(None, 0.5)
        path = folder / f"trained{place}-{ask.round}"
        save_file(difference(place, ask.round), path)
        return Answer(path, 0.5)

    return train


def test_a_compressed_federation_gives_the_simulations_bytes(federation: Federation, tmp_path: Path) -> None:
    """Two rounds of int8, whose second carries what the first lost; one site sends rubbish once and is refused."""
    plan = toy_plan(federation.model, federation.sites, rounds=2, compression=Int8())
    study_id = federation.create(plan)
    federation.agree()
    federation.start(study_id)
    for _ in range(2):
        for place, site in enumerate(federation.sites):
            assert send(federation, place, site.claim(federation.doors[place])) is None
    folder = tmp_path / "simulated"
    folder.mkdir()
    start = folder / "start"
    save_file(START, start)
    sites = [
        SimulatedSite(site.silo_id, site.training_cases, simulated_trainer(folder, place))
        for place, site in enumerate(federation.sites)
    ]
    last = simulate(plan, start, sites, folder).committed[-1].folded
    assert last is not None
    for place, site in enumerate(federation.sites):
        site.report(federation.doors[place], site.claim(federation.doors[place]), None)
    federation.researcher.wait_for(study_id, "completed")
    with federation.hub.services.database.reading() as session:
        assert session.get_one(Study, study_id).weights_digest == last.digest
    left = {path.name for path in federation.hub.services.blobs.scratch.iterdir()}
    assert not left, "no unpacked update stays"


def test_hub_and_silos_agree_on_a_level_each(federation: Federation) -> None:
    """Every site is told the best level it offers within the plan's; what it sent stands in the record and the page."""
    plan = toy_plan(federation.model, federation.sites, rounds=1, compression=TopK(fraction=0.5))
    study_id = federation.create(plan)
    agree_on(federation, [("none", "lossless", "half"), ("fp4",), None])
    federation.start(study_id)
    told = []
    for place, (site, level) in enumerate(zip(federation.sites, ("half", "lossless", "topk"), strict=True)):
        task = site.claim(federation.doors[place])
        assert isinstance(task.body, RoundTask)
        told.append(task.body.level)
        assert send(federation, place, task, level) is None
    assert told == ["half", "lossless", "topk"]
    for place, site in enumerate(federation.sites):
        site.report(federation.doors[place], site.claim(federation.doors[place]), None)
    view = federation.researcher.wait_for(study_id, "completed")
    rounds = json.loads(json.dumps(view["rounds"]))
    sent = {update["silo_id"]: update["sent_as"] for update in rounds[0]["updates"]}
    assert sent == {site.silo_id: level for site, level in zip(federation.sites, told, strict=True)}
    with federation.hub.services.database.reading() as session:
        digest = session.get_one(Study, study_id).weights_digest
    made = load_file(federation.hub.services.blobs.path(digest))
    exact = averaged(
        START,
        {site.silo_id: difference(place, 1) for place, site in enumerate(federation.sites)},
        {site.silo_id: site.training_cases for site in federation.sites},
    )
    # Half of the third site's values wait at the site, and all others are here to a half's last digit.
    assert 0.02 < np.mean([np.isclose(made[name], exact[name], atol=2e-3).mean() for name in START]) < 1
    page = federation.researcher.page(f"/studies/{study_id}")
    assert all(f"<td>{level}</td>" in page for level in told)


def test_a_level_that_was_not_agreed_on_is_refused(federation: Federation) -> None:
    """More loss than the task names, and a level of another release, each with its code; less loss is always taken."""
    study_id = federation.create(toy_plan(federation.model, federation.sites, quorum=1, compression=TopK()))
    agree_on(federation, [("int8",), ("int8",), ("int8",)])
    federation.start(study_id)
    codes = []
    for place, (sent_as, packed) in enumerate((("topk", "topk"), ("fp4", "int8"), ("half", "half"))):
        site, door = federation.sites[place], federation.doors[place]
        task = site.claim(door)
        assert isinstance(task.body, RoundTask)
        assert task.body.level == "int8"
        sent = compress_update(site.home, study_id, 1, trained(site, place, 1), at_level(TopK(), packed))
        codes.append(site.report(door, task, door.upload(sent, "update"), sent_as=sent_as).code)
    assert codes == ["compression-not-agreed", "compression-unknown", None]


def test_what_rounding_lost_is_sent_when_a_site_becomes_stricter(tmp_path: Path) -> None:
    """Two rounds at int8 and one without loss add up to what was trained, to the last digit that float32 holds."""
    home = Home(tmp_path)
    home.outbox.mkdir(parents=True)
    base, total, trained_sum = tmp_path / "base", 0.0, 0.0
    save_file(START, base)
    for number, level in ((1, Int8()), (2, Int8()), (3, Lossless())):
        path = home.outbox / "trained.safetensors"
        save_file(difference(0, number), path)
        sent = compress_update(home, "study-1", number, path, level)
        unpack(sent, base, tmp_path / "received", level)
        total = total + load_file(tmp_path / "received")["conv.weight"].astype(np.float64)
        trained_sum = trained_sum + difference(0, number)["conv.weight"].astype(np.float64)
    assert np.allclose(total, trained_sum, atol=1e-6)


def test_a_file_that_does_not_unpack_is_refused_with_a_code(federation: Federation) -> None:
    study_id = federation.create(toy_plan(federation.model, federation.sites, quorum=2, compression=Int8()))
    federation.agree()
    federation.start(study_id)
    site, door = federation.sites[0], federation.doors[0]
    task = site.claim(door)
    path = trained(site, 0, 1)
    path.write_bytes(MAGIC + b"rubbish")
    answer = site.report(door, task, door.upload(path, "update"))
    assert (answer.state, answer.code) == ("refused", "update-unsound")
