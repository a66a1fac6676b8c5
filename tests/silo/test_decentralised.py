"""A study without an aggregator through the real hub: three real nodes and jails, one node killed in the middle."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipelines.authoring import initial_weights, make_bundle, new_profile
from pipelines.bundles import read_bundle
from pipelines.bundles.weights import read_tensors
from pipelines.question import read_question
from silo_node.identity import load_identity
from silo_node.outbox.egress_log import EgressLog
from silo_node.wire.benchmarks import BenchmarkDefinition, DisclosureLimits
from silo_node.wire.canonical import message_digest
from silo_node.wire.masking import Member
from silo_node.wire.neighbours import Decentralised
from silo_node.wire.studies import LocalTraining, StudyPlan
from tests.conftest import HubProcess
from tests.silo.clinics import Clinic, open_clinic, token_of, wait_for
from tests.silo.preparations import classification
from tests.sites import Person

pytestmark = pytest.mark.slow

ROUNDS = 3
POLICY = """\
minimum_cohort = 20
[benchmarks]
allow = ["ring_xray"]
[studies]
others = "auto"
[release]
registrations = "auto"
results = "auto"
updates = "auto"
"""


@dataclass(frozen=True)
class Line:
    """Three clinics in a line: the middle one is everybody's neighbour, the outer two are strangers."""

    clinics: tuple[Clinic, ...]
    plan: StudyPlan

    @property
    def researcher(self) -> Person:
        return self.clinics[0].researcher


def question() -> BenchmarkDefinition:
    limits = DisclosureLimits(minimum_class=5, minimum_cell=5, minimum_sites=1)
    changes = {"disclosure": limits, "auto_approve_models": True, "auto_approve_cohorts": True}
    return classification(name="ring_xray", shape=(16, 16)).model_copy(update=changes)


@pytest.fixture
def line(hub: HubProcess, tmp_path: Path) -> Line:
    definition = question()
    Person(hub.url, token_of(hub, "benchmark-owner")).do("POST", "/benchmarks", definition.model_dump_json())
    clinics = tuple(
        open_clinic(hub, tmp_path / name, definition, POLICY, cases=60, name=f"Ring {name}") for name in "abc"
    )
    profile = new_profile(
        read_question(definition.model_dump(mode="json")),
        "Classifier",
        {"in_shape": [1, 16, 16], "classes": 2, "channels": [4, 4], "strides": [2, 2]},
    )
    bundle = tmp_path / "start.zip"
    make_bundle(bundle, profile, initial_weights(profile, 1), title="M", description="For tests.", authors="Test")
    model = clinics[0].submit(bundle)
    silos = [load_identity(clinic.home).enrolment for clinic in clinics]
    first, middle, last = sorted(silos, key=lambda silo: silo.silo_id)
    plan = StudyPlan(
        name="ring_study",
        title="Around the hub",
        benchmark={"name": definition.name, "version": 1, "digest": message_digest(definition)},  # type: ignore[arg-type]
        model=model,
        silos=tuple(silo.silo_id for silo in silos),
        rounds=ROUNDS,
        quorum=3,
        deadline_seconds=600,
        local=LocalTraining(batch_size=16, optimiser="sgd", learning_rate=1e-3),
        decentralised=Decentralised(
            edges=((first.silo_id, middle.silo_id), (middle.silo_id, last.silo_id)),
            members=tuple(Member(silo_id=silo.silo_id, public_key=silo.public_key) for silo in silos),
        ),
    )
    return Line(clinics, plan)


def blobs(hub: HubProcess) -> Iterator[bytes]:
    """Yield every file of the hub."""
    return (path.read_bytes() for path in hub.home.rglob("*") if path.is_file())


def test_silos_learn_from_neighbours_and_the_hub_reads_no_model(line: Line, hub: HubProcess) -> None:
    """Every round every site trains, seals and listens; a killed node does its part; nothing readable is at the hub."""
    plan, graph = line.plan, line.plan.decentralised
    assert graph is not None
    study = str(line.researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
    with ExitStack() as stack:
        nodes = [stack.enter_context(clinic.node()) for clinic in line.clinics]
        wait_for(lambda: consents(line, study) == {"approved"})
        line.researcher.do("POST", f"/studies/{study}/start")
        wait_for(lambda: line.clinics[0].reports())
        nodes[0].send_signal(signal.SIGKILL)
        nodes[0].wait()
        stack.enter_context(line.clinics[0].node())
        found = line.researcher.wait_for(study, "completed", "failed", seconds=600)
        assert found["state"] == "completed", [clinic.log()[-2000:] for clinic in line.clinics]
    assert found["final_model"] is None
    rounds = found["rounds"]
    assert isinstance(rounds, list)
    assert {update["shown"] for entry in rounds[1:] for update in entry["updates"]} == {1, 2}
    last = {clinic: own_models(clinic, study) for clinic in line.clinics}
    everything = b"".join(blobs(hub))
    for clinic, models in last.items():
        silo_id = load_identity(clinic.home).silo_id
        for report in told(clinic):
            beside = set(graph.neighbours(silo_id))
            heard = set(report["exchange"]["heard"])
            assert heard <= beside
            assert report["exchange"]["shown"] == (0 if report["round"] == 1 else len(beside))
            assert (report["update"] is None) == (report["round"] == ROUNDS + 1)
        for arrays in models:
            assert all(array.tobytes() not in everything for array in arrays.values() if array.size > 8)
        bundle = read_bundle(clinic.home.neighbours / study / "model.zip")
        gained = read_tensors(bundle.path, bundle.index)
        assert all(np.array_equal(gained[name], array) for name, array in models[-1].items())
        EgressLog(clinic.home.egress_log).verify()
    assert sum(len(set(report["exchange"]["heard"])) for clinic in line.clinics for report in told(clinic)) > 0


def consents(line: Line, study: str) -> set[object]:
    silos = line.researcher.study(study)["silos"]
    assert isinstance(silos, list)
    return {silo["consent"] for silo in silos if isinstance(silo, dict)}


def own_models(clinic: Clinic, study: str) -> list[dict[str, np.ndarray]]:
    """Return the models a site has kept, earliest first."""
    return [load_file(path) for path in sorted((clinic.home.neighbours / study).glob("round-*.safetensors"))]


def told(clinic: Clinic) -> list[dict[str, dict[str, list[str]]]]:
    """Return what a site reported of its rounds, in their order."""
    reports = [json.loads(item.envelope.payload_bytes()) for item in clinic.reports()]
    return sorted(reports, key=lambda report: int(report["round"]))
