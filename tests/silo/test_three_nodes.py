"""Studies by three real nodes and jails at a real hub: without an aggregator, masked, compressed, through a kill."""

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from subprocess import Popen
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from pipelines.authoring import initial_weights, make_bundle, new_profile
from pipelines.bundles import read_bundle
from pipelines.bundles.weights import read_tensors
from pipelines.question import read_question
from silo_node.identity import load_identity
from silo_node.outbox.egress_log import EgressLog
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference, DisclosureLimits
from silo_node.wire.canonical import message_digest
from silo_node.wire.compression import Int8
from silo_node.wire.course import Gate
from silo_node.wire.masking import Member, SecureAggregation
from silo_node.wire.models import ModelReference
from silo_node.wire.neighbours import Decentralised
from silo_node.wire.studies import LocalTraining, StudyPlan
from tests.conftest import HubProcess, hub_process
from tests.silo.clinics import Clinic, open_clinic, token_of, wait_for
from tests.silo.preparations import classification
from tests.sites import Person

pytestmark = pytest.mark.slow

PATIENCE = 900
"""Seconds: nine processes share a machine that may be busy with other tests."""

LOCAL = LocalTraining(batch_size=16, optimiser="sgd", learning_rate=1e-3)

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


@dataclass
class Three:
    """Three clinics, their running nodes, and a model that all may train."""

    clinics: tuple[Clinic, ...]
    model: ModelReference
    stack: ExitStack
    nodes: list["Popen[bytes]"] = field(default_factory=list)

    @property
    def researcher(self) -> Person:
        return self.clinics[0].researcher

    @property
    def members(self) -> tuple[Member, ...]:
        known = [load_identity(clinic.home).enrolment for clinic in self.clinics]
        return tuple(Member(silo_id=one.silo_id, public_key=one.public_key) for one in known)

    def start(self, place: int) -> None:
        """Start a clinic's node, or start it again."""
        process = self.stack.enter_context(self.clinics[place].node())
        self.nodes[place : place + 1] = [process]

    def study(self, name: str, rounds: int, **choices: Any) -> str:
        """Create a study, wait for everybody's yes and start it; return its id."""
        definition = self.clinics[0].definition
        plan = StudyPlan(
            name=name,
            title=name.replace("_", " ").capitalize(),
            benchmark=BenchmarkReference(name=definition.name, version=1, digest=message_digest(definition)),
            model=self.model,
            silos=tuple(member.silo_id for member in self.members),
            rounds=rounds,
            quorum=3,
            deadline_seconds=PATIENCE,
            **({"local": LOCAL} | choices),
        )
        study_id = str(self.researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
        wait_for(lambda: self.consents(study_id) == {"approved"}, PATIENCE)
        self.researcher.do("POST", f"/studies/{study_id}/start")
        return study_id

    def consents(self, study_id: str) -> set[object]:
        silos = self.researcher.study(study_id)["silos"]
        assert isinstance(silos, list)
        return {silo["consent"] for silo in silos if isinstance(silo, dict)}

    def done(self, study_id: str) -> dict[str, Any]:
        """Return a study that has come to its end."""
        found: dict[str, Any] = self.researcher.wait_for(study_id, "completed", "failed", seconds=PATIENCE)
        assert found["state"] == "completed", [clinic.log()[-2000:] for clinic in self.clinics]
        return found

    def told(self, study_id: str) -> list[dict[str, Any]]:
        """Return what the sites reported of a study."""
        reports = [json.loads(item.envelope.payload_bytes()) for clinic in self.clinics for item in clinic.reports()]
        return [report for report in reports if report["study_id"] == study_id]


def question() -> BenchmarkDefinition:
    limits = DisclosureLimits(minimum_class=5, minimum_cell=5, minimum_sites=1)
    changes = {"disclosure": limits, "auto_approve_models": True, "auto_approve_cohorts": True}
    return classification(name="ring_xray", shape=(16, 16)).model_copy(update=changes)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """A node tells its hub how far it is three times a lease: short, so that a kill finds it in mid-training."""
    with hub_process(tmp_path_factory.mktemp("hub"), "lease_seconds = 3\npoll_idle_seconds = 0.5\n") as running:
        yield running


@pytest.fixture(scope="module")
def three(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Three]:
    definition, folder = question(), tmp_path_factory.mktemp("three")
    Person(hub.url, token_of(hub, "benchmark-owner")).do("POST", "/benchmarks", definition.model_dump_json())
    clinics = tuple(
        open_clinic(hub, folder / name, definition, POLICY, cases=60, name=f"Ring {name}") for name in "abc"
    )
    profile = new_profile(
        read_question(definition.model_dump(mode="json")),
        "Classifier",
        {"in_shape": [1, 16, 16], "classes": 2, "channels": [4, 4], "strides": [2, 2]},
    )
    bundle = folder / "start.zip"
    make_bundle(bundle, profile, initial_weights(profile, 1), title="M", description="For tests.", authors="Test")
    with ExitStack() as stack:
        made = Three(clinics, clinics[0].submit(bundle), stack)
        for place in range(3):
            made.start(place)
        yield made


def everything_at(hub: HubProcess) -> bytes:
    """Return every byte the hub has on disk."""
    return b"".join(path.read_bytes() for path in hub.home.rglob("*") if path.is_file())


def test_silos_learn_from_neighbours_and_the_hub_reads_no_model(three: Three, hub: HubProcess) -> None:
    """In a line: every site trains, seals and listens; a killed node does its part; nothing readable is at the hub."""
    first, middle, last = sorted(member.silo_id for member in three.members)
    graph = Decentralised(edges=((first, middle), (middle, last)), members=three.members)
    rounds = 3
    study_id = three.study("around_the_hub", rounds, decentralised=graph)
    wait_for(lambda: three.told(study_id), PATIENCE)
    three.nodes[0].send_signal(signal.SIGKILL)
    three.nodes[0].wait()
    three.start(0)
    found = three.done(study_id)
    assert found["final_model"] is None
    assert {update["shown"] for entry in found["rounds"][1:] for update in entry["updates"]} == {1, 2}
    told, everything = three.told(study_id), everything_at(hub)
    assert len(told) == 3 * (rounds + 1)
    for report in told:
        beside = set(graph.neighbours(report["silo_id"]))
        assert set(report["exchange"]["heard"]) <= beside
        assert report["exchange"]["shown"] == (0 if report["round"] == 1 else len(beside))
        assert (report["update"] is None) == (report["round"] == rounds + 1)
    assert any(report["exchange"]["heard"] for report in told)
    for clinic in three.clinics:
        own = clinic.home.neighbours / study_id
        models = [load_file(path) for path in sorted(own.glob("round-*.safetensors"))]
        for arrays in models:
            assert all(array.tobytes() not in everything for array in arrays.values() if array.size > 8)
        bundle = read_bundle(own / "model.zip")
        gained = read_tensors(bundle.path, bundle.index)
        assert all(np.array_equal(gained[name], array) for name, array in models[-1].items())
        EgressLog(clinic.home.egress_log).verify()


def test_under_masks_a_sum_comes_out_and_no_update_of_a_single_site(three: Three) -> None:
    """The whole protocol by real nodes: every round is committed from three masked files in the first attempt."""
    study_id = three.study("under_masks", 2, secure_aggregation=SecureAggregation(members=three.members))
    found = three.done(study_id)
    trained = [entry for entry in found["rounds"] if not entry["validate_only"]]
    assert [(entry["attempt"], entry["state"], entry["sites"]) for entry in trained] == [(1, "committed", 3)] * 2
    assert found["final_model"] is not None
    sizes = {update["size"] for entry in trained for update in entry["updates"]}
    assert len(sizes) == 1
    assert {update["norm"] for entry in trained for update in entry["updates"]} == {None}
    assert all(not list(clinic.home.outbox.iterdir()) for clinic in three.clinics)


def test_compressed_updates_and_a_gate_go_through_the_jail(three: Three) -> None:
    """A byte a weight, halves where a site's policy wants no less, and every site's word on each model."""
    strict = three.clinics[0]
    strict.home.policy_file.write_text(POLICY.replace("[studies]", '[studies]\nlossiest = "half"'))
    study_id = three.study("small_and_guarded", 2, compression=Int8(), gate=Gate(tolerance=0.5, veto=0.9))
    found = three.done(study_id)
    trained = [update for entry in found["rounds"] if not entry["validate_only"] for update in entry["updates"]]
    assert {update["state"] for update in trained} == {"folded"}
    assert {update["verdict"] for update in trained} == {"accepted"}
    own = load_identity(strict.home).enrolment.silo_id
    assert all(update["sent_as"] == ("half" if update["silo_id"] == own else "int8") for update in trained)
    plain = read_bundle(three.clinics[0].home.bundles / f"{three.model.digest.partition(':')[2]}.zip")
    assert max(update["size"] for update in trained) < plain.weights_size


def test_a_node_killed_in_mid_training_does_its_part_all_the_same(three: Three) -> None:
    """The round is not lost and not repeated: every site's update is folded once, in the first attempt."""
    victim = three.members[0].silo_id
    long = LOCAL.model_copy(update={"epochs": 400, "batch_size": 8, "learning_rate": 1e-7})
    study_id = three.study("through_a_kill", 1, local=long)

    def update() -> dict[str, Any] | None:
        rounds: Any = three.researcher.study(study_id)["rounds"]
        updates = rounds[0]["updates"] if rounds else []
        return next((update for update in updates if update["silo_id"] == victim), None)

    def training() -> bool:
        said = update()
        return said is not None and 0 < said["done"] < said["total"]

    wait_for(training, PATIENCE)
    three.nodes[0].send_signal(signal.SIGKILL)
    three.nodes[0].wait()
    said = update()
    assert said is not None
    assert said["state"] == "expected", "it was killed before it had answered"
    three.start(0)
    found = three.done(study_id)
    assert [(entry["round"], entry["attempt"], entry["sites"]) for entry in found["rounds"]] == [(1, 1, 3), (2, 1, 3)]
