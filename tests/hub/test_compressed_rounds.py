"""Compressed updates over real HTTP: the same bytes as a simulation of the plan, and hostile files refused."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from federation_hub.client.simulation import Answer, Ask, SimulatedSite, Trainer, simulate
from federation_hub.config import HubConfig
from federation_hub.studies.tables import Study
from pipelines.compression.files import MAGIC
from silo_node.agent.compressed import compress_update
from silo_node.wire.compression import Int8
from silo_node.wire.studies import RoundTask
from silo_node.wire.tasks import Task
from tests.hub.running import START, Federation, running_hub
from tests.sites import Arrays, Site, toy_plan


@pytest.fixture
def federation(hub_config: HubConfig, tmp_path: Path) -> Iterator[Federation]:
    with running_hub(hub_config) as hub:
        made = Federation(hub, tmp_path)
        yield made
        made.close()


def difference(place: int, number: int) -> Arrays:
    rng = np.random.default_rng([place, number])
    return {name: np.asarray(rng.normal(size=array.shape), np.float32) for name, array in START.items()}


def send(federation: Federation, place: int, task: Task) -> str | None:
    """Do a round as the node does: compress with the residual kept at the site, upload, report."""
    site, door, body = federation.sites[place], federation.doors[place], task.body
    assert isinstance(body, RoundTask)
    path = trained(site, place, body.round)
    sent = compress_update(site.home, body.study_id, body.round, path, body.plan.compression)
    return site.report(door, task, door.upload(sent, "update")).code


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
