"""A hospital's node is ended by ``kill -9`` in the middle of training: the round waits, and the node does its part."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.definition import bundled
from federation_hub.client import models
from federation_hub.client.demo.federation import SILO_COMMAND, Federation, Silo, approve_requests
from federation_hub.client.demo.places import make_places
from federation_hub.client.demo.processes import Processes
from federation_hub.client.hub import Hub, Record
from federation_hub.client.plans import PlanFile, resolve_plan
from federation_hub.client.starting_point import write_starting_point
from federation_hub.client.studies import consents
from silo_node.wire.models import ModelCard
from tests.end_to_end.demonstration import environment, log_tails

pytestmark = pytest.mark.slow

DATASET = "chest_phantom"
HOSPITALS = 2
ROUNDS = 1


def test_a_node_killed_in_mid_training_does_its_part_all_the_same(tmp_path: Path) -> None:
    """The round is not lost and not repeated: every site's update is folded once, in the first attempt."""
    places = make_places(tmp_path / "home")
    with Processes(places.logs, environment()) as processes:
        federation = Federation(processes, places)
        places.hub.mkdir()
        # A node tells the hub how far it is three times a lease: short, so that a kill finds it in mid-training.
        (places.hub / "hub.toml").write_text("lease_seconds = 1.5\npoll_idle_seconds = 0.5\n")
        researcher, silos, plan = prepare(federation)
        nodes = {silo.silo_id: start_node(processes, silo) for silo in silos}
        study_id = str(researcher.create_study(resolve_plan(plan, researcher))["study_id"])
        wait_until(lambda: consents(researcher.study(study_id), "approved") == HOSPITALS, places.root)
        researcher.start_study(study_id)
        victim = silos[0]
        wait_until(lambda: training(researcher.study(study_id), victim), places.root)
        os.kill(nodes[victim.silo_id], signal.SIGKILL)
        assert not answered(researcher.study(study_id), victim)
        start_node(processes, victim)
        wait_until(lambda: researcher.study(study_id)["state"] in ("completed", "failed"), places.root)
        study = researcher.study(study_id)
    assert study["state"] == "completed"
    assert [(entry["round"], entry["attempt"], entry["sites"]) for entry in study["rounds"]] == [
        (number, 1, HOSPITALS) for number in range(1, ROUNDS + 2)
    ]


def prepare(federation: Federation) -> tuple[Hub, list[Silo], PlanFile]:
    """Bring up a hub, a researcher with a submitted model, and enrolled hospitals with registered cohorts."""
    definition = bundled(DATASET)
    made = federation.materials("sites", DATASET, None)
    federation.start_hub(0)
    owner = federation.add_person("Owner", role="benchmark-owner", organisation="Benchmark group")
    researcher = federation.add_person("Researcher", role="researcher", organisation="University")
    owner.publish_benchmark(definition)
    silos = []
    for number, site in enumerate(made["sites"][:HOSPITALS], start=1):
        silo = federation.enrol_silo(number, site["name"], definition, made["study"]["name"])
        federation.silo_command(silo, "intake", "folder", site["folder"], "--table", site["table"])
        federation.silo_command(silo, "benchmark", "join", DATASET)
        cohort = federation.silo_command(silo, "cohort", "build", DATASET)
        federation.silo_command(silo, "cohort", "register", cohort["cohort_id"])
        silos.append(silo)
    model = submit_fresh_model(researcher, federation.places.root / "model")
    approve_requests(owner)
    words = {
        "benchmark": DATASET,
        "model": model["digest"],
        "silos": [silo.name for silo in silos],
        "rounds": ROUNDS,
        "deadline_seconds": 1800,
        # Long enough that a kill finds the node in the middle of it.
        "local": made["study"]["local"] | {"epochs": 16},
    }
    return researcher, silos, PlanFile.model_validate_json(json.dumps(made["study"] | words))


def submit_fresh_model(researcher: Hub, folder: Path) -> Record:
    """Submit the benchmark's reference network with its initial weights."""
    write_starting_point(folder, DATASET, seed=0)
    with models.packed(folder) as archive:
        return researcher.submit_model(archive, ModelCard(name="Fresh"), DATASET)


def training(study: Record, silo: Silo) -> bool:
    """Tell whether the silo's node has said that it is in the middle of its training."""
    update = update_of(study, silo)
    return update is not None and 0 < update["done"] < update["total"]


def answered(study: Record, silo: Silo) -> bool:
    update = update_of(study, silo)
    return update is not None and update["state"] != "expected"


def update_of(study: Record, silo: Silo) -> Record | None:
    updates = study["rounds"][0]["updates"] if study["rounds"] else []
    return next((update for update in updates if update["silo_id"] == silo.silo_id), None)


def start_node(processes: Processes, silo: Silo) -> int:
    """Start a silo's node and return its process id."""
    arguments = ["--home", str(silo.home), "start"]
    return processes.start(f"{silo.log_name}-agent", SILO_COMMAND, arguments).process.pid


def wait_until(reached: Callable[[], bool], home: Path, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, log_tails(home)
        time.sleep(0.1)
