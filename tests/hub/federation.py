"""A small federation driven through the hub's routes, as nodes and researchers drive it, without any imaging."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask import Flask
from flask.testing import FlaskClient
from safetensors.numpy import save
from werkzeug.test import TestResponse

from federation_hub.accounts.service import add_person
from federation_hub.app import build_services, create_app
from federation_hub.benchmarks.service import find
from federation_hub.config import HubConfig
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.upkeep import changing_boards
from federation_hub.services import EXTENSION, Services
from pipelines.bundles import pack_bundle
from pipelines.bundles.metadata import new_metadata
from pipelines.question import InputSpec
from silo_node.wire.base import Message
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.canonical import message_digest
from silo_node.wire.cohorts import CohortCard, CohortRegistration
from silo_node.wire.digests import digest_bytes, keyed_fingerprint
from silo_node.wire.envelope import Envelope, key_fingerprint, new_key, open_envelope, public_key_text, seal
from silo_node.wire.estimates import ClassEstimates, EstimateBlock, MetricEstimate, ResourceUse, Software
from silo_node.wire.models import ModelCard
from silo_node.wire.proof import PROOF_HEADER, prove
from silo_node.wire.tasks import EvaluationTask, Task
from silo_node.wire.transfers import OFFSET_HEADER
from silo_node.wire.versions import CURRENT, HEADER


def definition(**changes: Any) -> BenchmarkDefinition:
    """Return an ordinary classification benchmark, with changes."""
    values: dict[str, Any] = {
        "name": "chest_phantom",
        "version": 1,
        "title": "Opacity on a generated chest phantom",
        "summary": "Tell phantoms with an opacity from those without.",
        "task": "classification",
        "modality": "DX",
        "provenance": "synthetic",
        "data_source": "Generated",
        "licence": "CC0-1.0",
        "labels": ["normal", "opacity"],
        "input": {"channels": 1, "shape": [32, 32]},
        "preparation": [{"name": "Resized", "args": {"spatial_size": [32, 32]}}],
        "metrics": [{"name": "auroc", "primary": True}],
        "auto_approve_models": True,
        "auto_approve_cohorts": True,
        **changes,
    }
    return BenchmarkDefinition.model_validate_json(json.dumps(values))


def bundle_bytes(seed: int = 0, *, files: dict[str, bytes] | None = None, **network: Any) -> bytes:
    """Return a small sound bundle for ``definition()``; another ``seed`` has other weights."""
    args = {"in_shape": [1, 32, 32], "classes": 2, "channels": [4, 8], "strides": [2, 2], **network}
    profile = {
        "format": "code-free-bundle/1",
        "network": {"name": "Classifier", "args": args},
        "preprocessing": [],
        "task": "classification",
        "labels": ["normal", "opacity"],
        "input": {"channels": 1, "shape": [32, 32]},
    }
    metadata = new_metadata(
        title="Test",
        description="A model for tests.",
        authors="Tests",
        task="classification",
        labels=("normal", "opacity"),
        spec=InputSpec(channels=1, shape=(32, 32)),
    )
    weights = np.random.default_rng(seed).normal(size=(4, 8)).astype(np.float32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "bundle"
        members = {
            "configs/bundle.json": json.dumps(profile).encode(),
            "configs/metadata.json": json.dumps(metadata).encode(),
            "models/model.safetensors": save({"layer.weight": weights}),
            **(files or {}),
        }
        for path, data in members.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        pack_bundle(folder, Path(name) / "bundle.zip")
        return (Path(name) / "bundle.zip").read_bytes()


@dataclass(frozen=True)
class Caller:
    """Somebody with a token, or without one."""

    http: FlaskClient
    token: str | None = None

    def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **arguments: Any
    ) -> TestResponse:
        """Send one request to the API."""
        sent = {HEADER: str(CURRENT), **(headers or {})}
        if self.token is not None:
            sent["Authorization"] = f"Bearer {self.token}"
        return self.http.open(f"/api/v1{path}", method=method, headers=sent, buffered=True, **arguments)

    def get(self, path: str, **query: Any) -> TestResponse:
        """Get a path of the API."""
        return self.request("GET", path, query_string=query)

    def post(self, path: str, body: Message | dict[str, Any] | None = None) -> TestResponse:
        """Post a message or a JSON object."""
        plain = body.model_dump(mode="json") if isinstance(body, Message) else body or {}
        return self.request("POST", path, json=plain)

    def send_chunk(self, upload_id: str, offset: int, data: bytes) -> TestResponse:
        """Append bytes to an upload."""
        return self.request("PATCH", f"/uploads/{upload_id}", data=data, headers={OFFSET_HEADER: str(offset)})

    def upload(self, data: bytes, purpose: str = "model") -> dict[str, Any]:
        """Upload some bytes in one chunk and return their reference."""
        reference = {"digest": digest_bytes(data), "size": len(data)}
        status = self.post("/uploads", {**reference, "purpose": purpose}).get_json()
        if not status["complete"]:
            answer = self.send_chunk(status["upload_id"], status["offset"], data[status["offset"] :])
            assert answer.get_json()["complete"], answer.text
        return reference

    def submit(
        self, data: bytes, name: str = "A model", benchmark: str = "chest_phantom", version: int = 1, **wishes: Any
    ) -> TestResponse:
        """Upload a bundle and submit it to a benchmark, with wishes."""
        card = ModelCard(name=name).model_dump(mode="json")
        body = {"bundle": self.upload(data), "card": card, "benchmark": benchmark, "benchmark_version": version}
        return self.post("/models", {**body, **wishes})


@dataclass(frozen=True)
class SiloCaller(Caller):
    """A hospital's node: a caller with a key and an id."""

    silo_id: str = ""
    key: Ed25519PrivateKey | None = None
    hub_key: str = ""

    def seal(self, message: Message) -> Envelope:
        """Sign a message with the silo's key."""
        assert self.key is not None
        return seal(message, self.key)

    def post(self, path: str, body: Message | dict[str, Any] | None = None) -> TestResponse:
        """Post; a signed statement with the proof that it is handed in now."""
        if not isinstance(body, Envelope) or self.key is None:
            return super().post(path, body)
        data = body.model_dump_json().encode()
        headers = {PROOF_HEADER: prove(self.key, "POST", f"/api/v1{path}", data, datetime.now(UTC))}
        return self.request("POST", path, data=data, headers={"Content-Type": "application/json", **headers})

    def fingerprint_of(self, cohort: str) -> str:
        """Return the keyed fingerprint of a cohort of this name."""
        return keyed_fingerprint(digest_bytes(self.silo_id.encode())[-32:].encode(), cohort.encode())

    def register_cohort(self, benchmark: BenchmarkDefinition, cohort: str = "first", **changes: Any) -> TestResponse:
        """Register a cohort of 140 cases."""
        card = CohortCard(
            task=benchmark.task,
            modality=benchmark.modality,
            provenance="synthetic",
            patients="100-249",
            classes=("50-99", "50-99"),
            makers=(),
        )
        registration = CohortRegistration(
            silo_id=self.silo_id,
            benchmark=reference_to(benchmark),
            fingerprint=self.fingerprint_of(cohort),
            training_cases=70,
            validation_cases=20,
            test_cases=50,
            card=card,
            publication="pseudonym",
        )
        return self.post("/silo/cohorts", self.seal(registration.model_copy(update=changes)))

    def claim(self) -> Task | None:
        """Ask for work and return the task, verified against the hub's key."""
        answer = self.post("/tasks/claim", {"kinds": ["evaluation", "round"]}).get_json()
        if answer["task"] is None:
            return None
        return open_envelope(Envelope.model_validate_json(json.dumps(answer["task"])), Task, self.hub_key)

    def answer(self, task: Task, **changes: Any) -> TestResponse:
        """Send an ordinary estimate block for a task, with changes."""
        return self.post(f"/tasks/{task.task_id}/result", self.seal(block_for(task, **changes)))


def reference_to(benchmark: BenchmarkDefinition) -> BenchmarkReference:
    """Return how messages name a benchmark version."""
    return BenchmarkReference(name=benchmark.name, version=benchmark.version, digest=message_digest(benchmark))


def block_for(task: Task, **changes: Any) -> EstimateBlock:
    """Return an honest block over 50 test cases, 25 of each class, with changes."""
    body = task.body
    assert isinstance(body, EvaluationTask)
    size = len(body.models)
    finished = datetime.now(UTC)
    variance = 0.002
    metric = MetricEstimate(
        metric="auroc",
        status="estimated",
        theta=tuple(round(0.8 + 0.01 * place, 2) for place in range(size)),
        cov=tuple(tuple(variance if row == column else variance / 2 for column in range(size)) for row in range(size)),
    )
    ordinary = EstimateBlock(
        task_id=task.task_id,
        evaluation_id=body.evaluation_id,
        silo_id=task.silo_id,
        benchmark=body.benchmark,
        cohort=body.cohort,
        models=tuple(model.digest for model in body.models),
        attempt=body.attempt,
        software=Software(medsilo="0.1.0", monai="1.6.1", torch="2.13.0"),
        started=finished - timedelta(minutes=1),
        finished=finished,
        limits=definition().disclosure,
        cases=50,
        patients=50,
        failed=(0,) * size,
        classes=(ClassEstimates(label="opacity", positives=25, negatives=25, metrics=(metric,)),),
        resources=(ResourceUse(seconds_mean=0.1, seconds_sd=0.01, peak_memory_mb=200.0),) * size,
    )
    return ordinary.model_copy(update=changes)


@dataclass(frozen=True)
class Federation:
    """A hub's application with people and silos to drive it."""

    app: Flask
    admin: Caller

    @property
    def services(self) -> Services:
        found: Services = self.app.extensions[EXTENSION]
        return found

    @property
    def anybody(self) -> Caller:
        return Caller(self.app.test_client())

    def person(self, name: str, *roles: str, organisation: str | None = None) -> Caller:
        """Add a person, by default of an organisation of their own."""
        with self.services.database.session() as session:
            token = add_person(session, name=name, organisation=organisation or f"{name}'s institute", roles=roles)
        return Caller(self.app.test_client(), token)

    def researcher(self, name: str = "Ada") -> Caller:
        """Add a researcher."""
        return self.person(name, "researcher")

    def invite(self, name: str = "St. Example") -> dict[str, Any]:
        """Invite a silo and return its id and code."""
        answer = self.admin.post("/silos", {"name": name, "organisation": f"{name} Hospital"})
        assert answer.status_code == 201, answer.text
        return dict(answer.get_json())

    def enrol(self, code: str, key: Ed25519PrivateKey | None = None) -> TestResponse:
        """Enrol a key with a code."""
        public_key = public_key_text((key or new_key()).public_key())
        body = {"code": code, "public_key": public_key, "software_version": "0.1.0", "wire_versions": [CURRENT]}
        return self.anybody.post("/enrolments", body)

    def pending_silo(self, name: str = "St. Example") -> SiloCaller:
        """Return a silo that has enrolled and waits for its approval."""
        key = new_key()
        receipt = self.enrol(self.invite(name)["code"], key).get_json()
        return SiloCaller(
            self.app.test_client(), receipt["token"], receipt["silo_id"], key, hub_key=receipt["hub_public_key"]
        )

    def silo(self, name: str = "St. Example") -> SiloCaller:
        """Return an active silo."""
        silo = self.pending_silo(name)
        assert silo.key is not None
        fingerprint = key_fingerprint(public_key_text(silo.key.public_key()))
        answer = self.admin.post(f"/silos/{silo.silo_id}/approve", {"fingerprint": fingerprint})
        assert answer.get_json()["state"] == "active", answer.text
        return silo

    def publish(self, **changes: Any) -> BenchmarkDefinition:
        """Publish a benchmark in the admin's name."""
        published = definition(**changes)
        answer = self.admin.post("/benchmarks", published)
        assert answer.status_code == 201, answer.text
        return published

    def refresh(self, name: str = "chest_phantom", version: int = 1) -> str | None:
        """Bring a board in line with changes that were made past the routes; return the digest of what stands."""
        with changing_boards(self.services) as session:
            outdate(session, [find(session, name, version)])
        with self.services.database.reading() as session:
            found = latest(session, name, version)
            return found.digest if found is not None else None

    def audit(self, subject: str) -> list[tuple[str, str | None, str]]:
        """Return the transitions of a subject: action, state before, state after."""
        from federation_hub.accounts.tables import AuditEntry

        with self.services.database.reading() as session:
            rows = session.query(AuditEntry).filter_by(subject=subject).order_by(AuditEntry.id)
            return [(row.action, row.before, row.after) for row in rows]


def hub_at(home: Path) -> Iterator[Federation]:
    """Yield the hub whose state is in a folder."""
    config = HubConfig(home=home, lease_seconds=30)
    services = build_services(config)
    app = create_app(config, services=services)
    yield Federation(app, Caller(app.test_client(), config.admin_token_path.read_text().strip()))
    services.database.close()
