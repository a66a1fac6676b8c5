"""Real work through the real hub and the real jail, with the node killed where it hurts most."""

import json
import signal
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

from silo_node.agent.holdings import find_holding
from silo_node.agent.scores import CaseScore, quantised
from silo_node.identity import load_identity
from silo_node.outbox.egress_log import EgressLog
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference, DisclosureLimits
from silo_node.wire.canonical import message_digest
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import LocalTraining, StudyPlan
from tests.conftest import HubProcess
from tests.silo.clinics import Clinic, open_clinic, token_of, wait_for
from tests.silo.preparations import classification
from tests.sites import Person

pytestmark = pytest.mark.slow

CASES = 600
POLICY = """\
minimum_cohort = 20
[benchmarks]
allow = ["kill_xray"]
[release]
registrations = "auto"
results = "{results}"
updates = "auto"
"""


def question() -> BenchmarkDefinition:
    limits = DisclosureLimits(minimum_class=5, minimum_cell=5, minimum_sites=1)
    changes = {"disclosure": limits, "auto_approve_models": True, "auto_approve_cohorts": True}
    return classification(name="kill_xray", shape=(32, 32)).model_copy(update=changes)


def write_bundle(out: Path, definition: BenchmarkDefinition, seed: int) -> Path:
    """Pack a freshly initialised network, large enough that a case takes some milliseconds."""
    from pipelines.authoring import initial_weights, make_bundle, new_profile
    from pipelines.question import read_question

    args = {"in_shape": [1, 32, 32], "classes": 2, "channels": [32, 32], "strides": [1, 2]}
    profile = new_profile(read_question(definition.model_dump(mode="json")), "Classifier", args)
    make_bundle(out, profile, initial_weights(profile, seed), title="M", description="For tests.", authors="Test")
    return out


@pytest.fixture(scope="module")
def clinic(hub: HubProcess, tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    definition = question()
    Person(hub.url, token_of(hub, "benchmark-owner")).do("POST", "/benchmarks", definition.model_dump_json())
    return open_clinic(hub, tmp_path_factory.mktemp("clinic"), definition, POLICY.format(results="hold"), cases=CASES)


def scored(clinic: Clinic) -> list[str]:
    """Return the lines of the score file that is being written."""
    files = sorted(clinic.home.scratch.glob("evaluate-*/scores/*.jsonl"))
    return files[0].read_text().splitlines() if files else []


def test_a_killed_evaluation_goes_on_at_its_case_and_leaves_only_when_released(clinic: Clinic, tmp_path: Path) -> None:
    """``kill -9`` in the middle; what was scored is not scored again; the block waits for a person, across restarts."""
    bundles = [write_bundle(tmp_path / f"m{seed}.zip", clinic.definition, seed) for seed in (0, 1)]
    models = [clinic.submit(bundle) for bundle in bundles]
    with clinic.node() as node:
        wait_for(lambda: len(scored(clinic)) >= 30)
        node.send_signal(signal.SIGKILL)
        node.wait()
    before = scored(clinic)
    assert 30 <= len(before) < CASES * 0.25
    with clinic.node():
        wait_for(lambda: clinic.held("estimate-block"))
    kept = list(clinic.home.scores.rglob("*.jsonl"))
    assert len(kept) == len(models)
    expected = [quantised(CaseScore.model_validate_json(line)).model_dump_json() for line in before]
    assert sum(path.read_text().splitlines()[: len(before)] == expected for path in kept) == 1
    stamps = {path: path.stat().st_mtime_ns for path in kept}
    with clinic.node():
        item = clinic.held("estimate-block")
        assert item is not None
        time.sleep(1)
        assert not any(state in clinic.evaluations() for state in ("answered", "refused"))
        shown = clinic.command("outbox", "show", item.item_id)
        assert json.loads(before[0])["case"] not in json.dumps(shown["content"])
        clinic.command("outbox", "release", item.item_id)
        wait_for(lambda: "answered" in clinic.evaluations())
        # The hub has it before the node has heard so.
        wait_for(
            lambda: [found.state for found in clinic.items() if found.kind == "estimate-block"] == ["acknowledged"]
        )
    assert {path: path.stat().st_mtime_ns for path in kept} == stamps
    assert not list(clinic.home.scratch.glob("evaluate-*"))
    EgressLog(clinic.home.egress_log).verify()


def jailed_worker(clinic: Clinic) -> psutil.Process | None:
    """Return the process of the study's session, if one runs."""
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if "bwrap" in line and str(clinic.home.scratch / "study-") in line:
            return process
    return None


def test_a_study_asks_first_and_outlives_its_killed_process(clinic: Clinic, tmp_path: Path) -> None:
    """A person says yes to the whole plan; then one process serves the rounds, and another when it is killed."""
    bundle = write_bundle(tmp_path / "m7.zip", clinic.definition, 7)
    model = clinic.submit(bundle)
    clinic.home.policy_file.write_text(POLICY.format(results="auto"))
    plan = StudyPlan.model_validate(
        {
            "name": "kill_study",
            "title": "A study",
            "benchmark": {"name": "kill_xray", "version": 1, "digest": message_digest(clinic.definition)},
            "model": model,
            "silos": (load_identity(clinic.home).silo_id,),
            "rounds": 4,
            "quorum": 1,
            "deadline_seconds": 120,
            "local": LocalTraining(batch_size=64),
        }
    )
    study = str(clinic.researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])
    with clinic.node():
        wait_for(lambda: clinic.held("association-decision"))
        item = clinic.held("association-decision")
        assert item is not None
        clinic.command("outbox", "release", item.item_id)
        wait_for(lambda: clinic.consent(study) == "approved")
        clinic.researcher.do("POST", f"/studies/{study}/start")
        wait_for(lambda: len(clinic.reports()) >= 1)
        worker = jailed_worker(clinic)
        assert worker is not None
        worker.kill()
        found = clinic.researcher.wait_for(study, "completed", "failed", seconds=180)
        assert found["state"] == "completed", clinic.log()
        second = jailed_worker(clinic)
        assert second is None or second.pid != worker.pid
    assert len(clinic.reports()) >= 4
    assert not list(clinic.home.outbox.iterdir())


def test_a_question_about_the_cohort_goes_through_the_door_and_back(clinic: Clinic) -> None:
    """Counts as the limits allow, a band that looks like none where there is nobody, and a line in the ledger."""
    clinic.home.policy_file.write_text(POLICY.format(results="auto"))
    questions = (
        {"attribute": "sex", "where": [], "epsilon": None},
        {"attribute": None, "where": [{"attribute": "sex", "levels": ["f"]}], "epsilon": None},
    )
    asked = [
        clinic.researcher.do("POST", "/statistics", json.dumps({"benchmark": "kill_xray", "question": question}))
        for question in questions
    ]
    with clinic.node():
        states = [partial(clinic.researcher.do, "GET", f"/statistics/{one['query_id']}") for one in asked]
        wait_for(lambda: all(state()["answered"] == 1 for state in states), seconds=600)
    table, band = (state() for state in states)
    assert table["cells"] == [{"level": "none-told", "patients": CASES, "silos": 1}]
    assert band["bands"] == {"fewer-than-20": 1}
    ledger = clinic.command("privacy", "ledger")
    told = [entry["subject"] for entry in entries_of(ledger) if entry["kind"] == "statistics"]
    assert told == [asked[0]["query_id"]]


def private_plan(clinic: Clinic, model: ModelReference, name: str) -> StudyPlan:
    """Return a plan of two rounds whose promise to each patient is an epsilon of 3."""
    return StudyPlan.model_validate(
        {
            "name": name,
            "title": "A private study",
            "benchmark": {"name": "kill_xray", "version": 1, "digest": message_digest(clinic.definition)},
            "model": model,
            "silos": (load_identity(clinic.home).silo_id,),
            "rounds": 2,
            "quorum": 1,
            "deadline_seconds": 600,
            "local": LocalTraining(batch_size=64, max_steps=3),
            "privacy": {"unit": "patient", "epsilon": 3.0, "images_per_patient": 2},
        }
    )


def test_a_private_study_is_trained_with_noise_and_booked_until_the_budget(clinic: Clinic, tmp_path: Path) -> None:
    """Through the hub and the jail: two rounds are in the ledger, and a second study like it is refused by a code."""
    clinic.home.policy_file.write_text(
        POLICY.format(results="auto") + '[studies]\nothers = "auto"\n[budget]\nepsilon = 3.2\n'
    )
    model = clinic.submit(write_bundle(tmp_path / "m11.zip", clinic.definition, 11))
    before = clinic.command("privacy", "ledger")
    study = str(
        clinic.researcher.do("POST", "/studies", private_plan(clinic, model, "quiet_one").model_dump_json())["study_id"]
    )
    with clinic.node():
        wait_for(lambda: clinic.consent(study) == "approved", seconds=600)
        clinic.researcher.do("POST", f"/studies/{study}/start")
        found = clinic.researcher.wait_for(study, "completed", "failed", seconds=600)
        assert found["state"] == "completed", clinic.log()
        again = private_plan(clinic, model, "quiet_two").model_dump_json()
        second = str(clinic.researcher.do("POST", "/studies", again)["study_id"])
        wait_for(lambda: clinic.consent(second) == "declined", seconds=600)
    after = clinic.command("privacy", "ledger")
    booked = [entry for entry in entries_of(after)[len(entries_of(before)) :] if entry["subject"] == study]
    assert [entry["kind"] for entry in booked] == ["round", "round", "closed"]
    noise = booked[0]["mechanism"]
    assert noise == booked[1]["mechanism"]
    assert (noise["kind"], noise["steps"]) == ("gaussian", 3)
    accounts = after["accounts"]
    assert isinstance(accounts, list)
    (trained,) = (account for account in accounts if account["part"] == "train")
    assert 1.0 < trained["epsilon"] < 3.0
    assert "privacy-budget" in clinic.log() or "refuse" in clinic.log()


def entries_of(ledger: dict[str, object]) -> list[dict[str, Any]]:
    found = ledger["entries"]
    assert isinstance(found, list)
    return found


def onnx_bundle(out: Path, definition: BenchmarkDefinition) -> Path:
    """Pack the simplest classifier there is as a bundle of tier 2."""
    from onnx import TensorProto, helper, numpy_helper

    from tests.hostile.onnx_models import packed

    weight = numpy_helper.from_array(np.ones((32 * 32, 2), np.float32), "weight")
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["logits"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 32, 32])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, "classifier", [image], [logits], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    out.mkdir()
    profile = {"labels": list(definition.labels), "input": definition.input.model_dump(mode="json")}
    return packed(out, model.SerializeToString(), **profile)


PREDICT = """
import json, os, struct
asked = json.load(open("/input/question.json"))
assert asked["cases"] == len(os.listdir("/input")) - 1
for name in os.listdir("/input"):
    if name.endswith(".safetensors"):
        data = open("/input/" + name, "rb").read()
        length, = struct.unpack("<Q", data[:8])
        values = struct.unpack(f"<{(len(data) - 8 - length) // 4}f", data[8 + length:])
        header = json.dumps({"logits": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
        header += b" " * (-len(header) % 8)
        answer = struct.pack("<2f", 0.0, sum(values) / len(values) - 127.5)
        open("/output/" + name, "wb").write(struct.pack("<Q", len(header)) + header + answer)
try:
    open("/left-behind", "w")
except OSError:
    print("nothing can be written here", flush=True)
"""


def brightness_auroc(clinic: Clinic, block: dict[str, Any]) -> float:
    """Count the pairs of test images, one of each class, that the container's rule puts in order."""
    reference = BenchmarkReference.model_validate(block["benchmark"])
    holding = find_holding(clinic.home, block["cohort"], reference)
    assert holding is not None
    means: dict[object, list[float]] = {0: [], 1: []}
    for case in holding.manifest.cases:
        if case.split == "test":
            image = load_file(holding.folder / "cases" / f"{case.case}.safetensors")["image"]
            means[case.label].append(float(image.mean()))
    pairs = [(no, yes) for no in means[0] for yes in means[1]]
    return sum(yes > no for no, yes in pairs) / len(pairs)


def answered(clinic: Clinic, known: set[str], digest: str) -> dict[str, Any]:
    """Return the content of an acknowledged block that is not known yet and is about this model."""
    found: list[dict[str, Any]] = []

    def there() -> bool:
        blocks = [
            json.loads(item.envelope.payload_bytes())
            for item in clinic.items()
            if item.kind == "estimate-block" and item.state == "acknowledged" and item.item_id not in known
        ]
        found[:] = [block for block in blocks if digest in block["models"] or digest in _refused(block)]
        return bool(found)

    wait_for(there, 600)
    return found[-1]


def blocks_of(clinic: Clinic) -> set[str]:
    return {item.item_id for item in clinic.items() if item.kind == "estimate-block"}


def _refused(block: dict[str, Any]) -> dict[str, str]:
    return {one["model"]: one["code"] for one in block["refused"]}


def test_a_model_that_is_not_run_here_leaves_the_others_and_a_container_runs_once_it_is_let_in(
    clinic: Clinic, hub: HubProcess, tmp_path: Path
) -> None:
    """At a site of tier 1 ONNX and a container get a coded no; then the container's very digest is let in."""
    from pipelines.authoring import make_container_bundle
    from pipelines.container import ContainerModel
    from pipelines.question import read_question
    from tests.silo.containers import engine_settings, image

    (tmp_path / "more").mkdir()
    (tmp_path / "more/predict.py").write_text(PREDICT)
    with engine_settings(tmp_path), image("model", tmp_path / "more") as engine:
        before = blocks_of(clinic)
        clinic.home.policy_file.write_text(POLICY.format(results="auto"))
        named = ContainerModel(image=engine.image, command=("python3", "/predict.py"))
        asked = read_question(clinic.definition.model_dump(mode="json"))
        make_container_bundle(tmp_path / "code.zip", asked, named, title="C", description="d", authors="a")
        free = clinic.submit(write_bundle(tmp_path / "free.zip", clinic.definition, 11))
        contained = clinic.submit(tmp_path / "code.zip")
        other = clinic.submit(onnx_bundle(tmp_path / "onnx", clinic.definition))
        with clinic.node():
            block = answered(clinic, before, contained.digest)
            after = blocks_of(clinic)
        assert {one["model"]: one["code"] for one in block["refused"]} == {
            contained.digest: "policy-model-tier",
            other.digest: "policy-model-tier",
        }
        assert free.digest in block["models"]
        let_in = f'model_tiers = [1, 3]\ncontainers = ["{contained.digest}"]\n'
        clinic.home.policy_file.write_text(let_in + POLICY.format(results="auto"))
        config = f'provenance = "synthetic"\n[sandbox]\ncontainers = "podman"\nimage = "{engine.image}"\n'
        clinic.home.config_file.write_text(config)
        owner = Person(hub.url, hub.admin_token)
        owner.do("POST", f"/benchmarks/{clinic.definition.name}/1/evaluations", "{}")
        with clinic.node():
            second = answered(clinic, after, contained.digest)
    clinic.home.config_file.write_text('provenance = "synthetic"\n')
    assert {one["model"]: one["code"] for one in second["refused"]} == {other.digest: "policy-model-tier"}
    place = second["models"].index(contained.digest)
    assert second["failed"][place] == 0
    told = second["classes"][0]["metrics"][0]["theta"][place]
    assert told == pytest.approx(brightness_auroc(clinic, second), abs=0.01)
    assert "nothing can be written here" not in clinic.log()
    assert not list(clinic.home.scratch.glob("job-contained-*"))


def test_a_check_node_runs_a_submission_before_any_hospital(clinic: Clinic, hub: HubProcess, tmp_path: Path) -> None:
    """The clinic's node in the operator's place: judged, run twice in the jail, and a signed report decides."""
    silo_id = load_identity(clinic.home).silo_id
    hub.command("silo", "check-node", silo_id)
    clinic.home.config_file.write_text('provenance = "synthetic"\ncheck_node = true\n')
    clinic.home.policy_file.write_text(POLICY.format(results="auto"))
    model = clinic.submit(write_bundle(tmp_path / "checked.zip", clinic.definition, 9))
    state = partial(clinic.researcher.do, "GET", f"/models/{model.digest}")
    assert state()["state"] == "checking"
    with clinic.node():
        wait_for(lambda: state()["state"] != "checking")
    assert (state()["state"], state()["code"]) == ("accepted", None)
    hub.command("silo", "check-node", silo_id, "--off")
