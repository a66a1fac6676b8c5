"""Light sites for tests: the node's real identity, transfers and gate, with arithmetic in place of training."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import requests
from pydantic import JsonValue
from safetensors.numpy import load_file, save_file

from pipelines.bundles import pack_bundle
from pipelines.bundles.metadata import new_metadata
from pipelines.question import InputSpec as BundleInput
from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.identity import dial, enrol, gate, load_identity
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference, InputSpec, MetricSpec
from silo_node.wire.canonical import canonical_bytes, message_digest
from silo_node.wire.cohorts import AssociationDecision, CohortCard, CohortRegistration
from silo_node.wire.digests import digest_file, keyed_fingerprint
from silo_node.wire.envelope import open_envelope, seal
from silo_node.wire.errors import HubUnavailable, MedSiloError
from silo_node.wire.models import ModelCard, ModelReference, ModelSubmission
from silo_node.wire.studies import LocalTraining, RoundReport, RoundTask, SiteScore, StudyPlan
from silo_node.wire.tasks import ClaimRequest, Decline, ResultAnswer, Task
from silo_node.wire.transfers import BlobReference, UploadRequest

Arrays = dict[str, np.ndarray]
Trainer = Callable[[Arrays, int], Arrays | None]
"""From the global model and the round's number to the difference it trained; None declines the round."""

DROPPED = ("lease-lost", "task-done", "update-stale", "not-found")
"""What the hub says of work that is no longer wanted."""

TOY = BenchmarkDefinition(
    name="toy",
    version=1,
    title="A toy question",
    summary="Whether a small image has a finding.",
    task="classification",
    modality="DX",
    provenance="synthetic",
    data_source="made up",
    licence="CC0-1.0",
    labels=("normal", "finding"),
    input=InputSpec(channels=1, shape=(8, 8)),
    preparation=(),
    metrics=(MetricSpec(name="auroc", primary=True),),
    auto_approve_models=True,
    auto_approve_cohorts=True,
)


def write_bundle(folder: Path, weights: Arrays, channels: tuple[int, ...] = (64,)) -> Path:
    """Pack a bundle whose network could have these weights; nobody builds it."""
    source = folder / "bundle"
    for name in ("configs", "models"):
        (source / name).mkdir(parents=True, exist_ok=True)
    labels = ("normal", "finding")
    spec = BundleInput(channels=1, shape=(8, 8))
    metadata = new_metadata(
        title="Toy", description="For tests.", authors="Test", task="classification", labels=labels, spec=spec
    )
    network = {
        "name": "Classifier",
        "args": {"in_shape": [1, 8, 8], "classes": 2, "channels": list(channels), "strides": [2] * len(channels)},
    }
    profile = {
        "format": "code-free-bundle/1",
        "network": network,
        "task": "classification",
        "labels": list(labels),
        "input": {"channels": 1, "shape": [8, 8]},
    }
    (source / "configs" / "metadata.json").write_bytes(canonical_bytes(metadata))
    (source / "configs" / "bundle.json").write_bytes(canonical_bytes(profile))
    save_file(weights, source / "models" / "model.safetensors")
    out = folder / "model.zip"
    pack_bundle(source, out)
    return out


class Person:
    """Somebody with a token, asking the hub over HTTP."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"}

    def ask(self, method: str, path: str, body: str | bytes | None = None) -> requests.Response:
        headers = self._headers | ({"Content-Type": "application/json"} if body else {})
        return requests.request(method, f"{self.url}/api/v1{path}", data=body, headers=headers, timeout=60)

    def do(self, method: str, path: str, body: str | bytes | None = None) -> dict[str, JsonValue]:
        answer = self.ask(method, path, body)
        assert answer.ok, answer.text
        found: dict[str, JsonValue] = answer.json() if answer.content else {}
        return found

    def page(self, path: str) -> str:
        """Return a page of the hub, as anybody sees it."""
        answer = requests.get(f"{self.url}{path}", timeout=60)
        assert answer.ok, answer.text
        return answer.text

    def submit(self, bundle: Path, name: str = "Toy model") -> ModelReference:
        """Upload a bundle and submit it to the toy benchmark."""
        digest, size = digest_file(bundle), bundle.stat().st_size
        wish = UploadRequest(digest=digest, size=size, purpose="model")
        status = self.do("POST", "/uploads", wish.model_dump_json())
        with bundle.open("rb") as file:
            while not status["complete"]:
                part = file.read(int(str(status["chunk_bytes"])))
                headers = self._headers | {"Upload-Offset": str(status["offset"])}
                address = f"{self.url}/api/v1/uploads/{status['upload_id']}"
                answer = requests.patch(address, data=part, headers=headers, timeout=60)
                assert answer.ok, answer.text
                status = answer.json()
        submission = ModelSubmission(
            bundle=BlobReference(digest=digest, size=size),
            card=ModelCard(name=name),
            benchmark=TOY.name,
            benchmark_version=TOY.version,
        )
        self.do("POST", "/models", submission.model_dump_json())
        return ModelReference(digest=digest, size=size)

    def study(self, study_id: str) -> dict[str, JsonValue]:
        return self.do("GET", f"/studies/{study_id}")

    def wait_for(self, study_id: str, *states: str, seconds: float = 120, pause: float = 0.1) -> dict[str, JsonValue]:
        """Return the study once it is in one of these states; a hub that is away meanwhile is waited for."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with suppress(requests.ConnectionError):
                found = self.study(study_id)
                if found["state"] in states:
                    return found
            time.sleep(pause)
        raise AssertionError(f"the study is {found['state']} after {seconds} s: {found}")


@dataclass
class Site:
    """One enrolled silo with a registered cohort."""

    home: Home
    silo_id: str
    cohort: str
    training_cases: int

    @classmethod
    def join(cls, folder: Path, url: str, admin: Person, name: str, training_cases: int = 100) -> "Site":
        """Enrol a node, have its fingerprint approved, and register a cohort of the toy benchmark."""
        invitation = admin.do("POST", "/silos", canonical_bytes({"name": name, "organisation": f"{name} hospital"}))
        home = Home(folder)
        home.identity.mkdir(parents=True, mode=0o700)
        stranger = Hub(url, gate(home), NodeConfig())
        enrolment = enrol(home, stranger, str(invitation["code"]))
        stranger.close()
        approval = canonical_bytes({"fingerprint": enrolment.fingerprint})
        admin.do("POST", f"/silos/{enrolment.silo_id}/approve", approval)
        site = cls(home, enrolment.silo_id, keyed_fingerprint(b"k" * 32, name.encode()), training_cases)
        site.register_cohort()
        return site

    def register_cohort(self, benchmark: BenchmarkReference | None = None) -> None:
        """Register the cohort that ``cohort`` and ``training_cases`` describe, of the toy benchmark unless told."""
        identity = load_identity(self.home)
        card = CohortCard(
            task="classification",
            modality="DX",
            provenance="synthetic",
            patients="100-249",
            classes=("50-99", "50-99"),
            makers=("other",),
        )
        registration = CohortRegistration(
            silo_id=self.silo_id,
            benchmark=benchmark or toy_reference(),
            fingerprint=self.cohort,
            training_cases=self.training_cases,
            validation_cases=20,
            test_cases=20,
            card=card,
        )
        hub = self.dial()
        hub.register_cohort(seal(registration, identity.key))
        hub.close()

    def dial(self, url: str | None = None) -> Hub:
        """Open a connection to the hub this site enrolled with, or to where it is now."""
        config = NodeConfig() if url is None else NodeConfig(hub_url=url)
        return dial(self.home, config, load_identity(self.home))

    def consent(self, hub: Hub, *, approve: bool = True) -> list[str]:
        """Answer every study that asks; return their ids."""
        asked = hub.claim(ClaimRequest(kinds=("round",))).consents
        for request in asked:
            self.decide(hub, request.association_id, approve=approve)
        return [request.study_id for request in asked]

    def decide(self, hub: Hub, association_id: str, *, approve: bool) -> None:
        decision = AssociationDecision(association_id=association_id, silo_id=self.silo_id, approve=approve)
        hub.decide(association_id, seal(decision, load_identity(self.home).key))

    def claim(self, hub: Hub, seconds: float = 60) -> Task:
        """Return the next round task, waiting for one."""
        task, _ = self._claim(hub, time.monotonic() + seconds)
        assert task is not None, "no task was offered"
        return task

    def report(
        self, hub: Hub, task: Task, update: BlobReference | None, *, score: float | None = 0.5, **changes: JsonValue
    ) -> ResultAnswer:
        """Sign and send the report of a task; ``changes`` replaces fields of it."""
        body = task.body
        assert isinstance(body, RoundTask)
        report = RoundReport(
            task_id=task.task_id,
            study_id=body.study_id,
            silo_id=self.silo_id,
            round=body.round,
            plan_digest=body.plan_digest,
            base=body.weights.digest,
            cohort=body.cohort,
            update=update,
            score=SiteScore(metric="auroc", value=score, cases=20),
            train_seconds=0.0,
        ).model_copy(update=changes)
        return hub.result(task.task_id, seal(report, load_identity(self.home).key))

    def weights(self, hub: Hub, task: Task) -> Path:
        """Fetch the global model a task names."""
        assert isinstance(task.body, RoundTask)
        self.home.scratch.mkdir(exist_ok=True)
        name = f"{self.silo_id}-{task.task_id}.safetensors"
        return hub.fetch(task.body.weights, self.home.scratch, name)

    def send(self, hub: Hub, task: Task, arrays: Arrays, **changes: JsonValue) -> ResultAnswer:
        """Upload arrays as the update of a task and report it."""
        self.home.outbox.mkdir(exist_ok=True)
        path = self.home.outbox / f"{task.task_id}.safetensors"
        save_file(arrays, path)
        answer = self.report(hub, task, hub.upload(path, "update"), **changes)
        path.unlink()
        return answer

    def answer_round(self, hub: Hub, task: Task, trainer: Trainer) -> None:
        """Fetch, "train", upload, report; or only score where the round asks for no more."""
        assert isinstance(task.body, RoundTask)
        path = self.weights(hub, task)
        weights = load_file(path)
        path.unlink()
        if task.body.validate_only:
            self.report(hub, task, None)
            return
        difference = trainer(weights, task.body.round)
        if difference is None:
            hub.decline(task.task_id, Decline(code="work-failed"))
        else:
            self.send(hub, task, difference)

    def run(self, url: str, trainer: Trainer, until: Callable[[], bool]) -> None:
        """Be a node: ask for rounds and answer them until told to stop, whatever happens to the hub meanwhile.

        Like the node, it keeps a task it holds while the hub is away, and drops one that is no longer wanted.
        """
        hub = self.dial(url)
        task: Task | None = None
        while not until():
            try:
                if task is None:
                    task, wait = self._claim(hub, 0)
                if task is None:
                    time.sleep(min(wait, 0.2))
                    continue
                self.answer_round(hub, task, trainer)
                task = None
            except HubUnavailable:
                time.sleep(0.05)
            except MedSiloError as error:
                if error.code not in DROPPED:
                    raise
                task = None
        hub.close()

    def _claim(self, hub: Hub, end: float) -> tuple[Task | None, float]:
        while True:
            answer = hub.claim(ClaimRequest(kinds=("round",)))
            if answer.task is not None:
                key = load_identity(self.home).enrolment.hub_public_key
                return open_envelope(answer.task, Task, key), 0
            if time.monotonic() >= end:
                return None, answer.wait_seconds
            time.sleep(min(answer.wait_seconds, 0.1))


def toy_reference() -> BenchmarkReference:
    return BenchmarkReference(name=TOY.name, version=TOY.version, digest=message_digest(TOY))


def toy_plan(model: ModelReference, sites: list[Site], **changes: JsonValue) -> StudyPlan:
    """Return a plan over these sites: two rounds, every update needed, half a minute each."""
    values = {"rounds": 2, "quorum": len(sites), "deadline_seconds": 30, "norm_bound": None} | changes
    return StudyPlan.model_validate(
        {
            "name": "toy_study",
            "title": "A toy study",
            "benchmark": toy_reference(),
            "model": model,
            "silos": tuple(site.silo_id for site in sites),
            "local": LocalTraining(),
            **values,
        }
    )


def averaged(base: Arrays, differences: dict[str, Arrays], weights: dict[str, int]) -> Arrays:
    """Return federated averaging by the book, in float64 on whole arrays, silos in the order of their ids."""
    total = float(sum(weights[silo] for silo in differences))
    summed = {name: np.zeros(array.shape) for name, array in base.items()}
    for silo in sorted(differences):
        for name, array in differences[silo].items():
            summed[name] += weights[silo] * array.astype(np.float64)
    return {name: (summed[name] / total + base[name]).astype(np.float32) for name in base}
