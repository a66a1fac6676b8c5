"""Submitted bundles are judged as data: accepted, or refused with the bundle's own code and nothing half done."""

import io
import json
import zipfile

import pytest

from federation_hub.models.service import MODEL
from federation_hub.states import StateConflict
from silo_node.wire.digests import digest_bytes
from tests.hub.federation import Caller, Federation, bundle_bytes

PROFILE = "configs/bundle.json"
WEIGHTS = "models/model.safetensors"


def rezipped(data: bytes, replace: dict[str, bytes], *, add: dict[str, bytes] | None = None) -> bytes:
    """Return a bundle's archive with members replaced or added, as somebody without our tools would write it."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            target.writestr(name, replace.get(name, source.read(name)))
        for name, content in (add or {}).items():
            target.writestr(name, content)
    return out.getvalue()


def with_profile(**changes: object) -> bytes:
    """Return a bundle whose profile has changes."""
    data = bundle_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        profile = json.loads(archive.read(PROFILE))
    return rezipped(data, {PROFILE: json.dumps({**profile, **changes}).encode()})


def network(name: str = "Classifier", **args: object) -> dict[str, object]:
    """Return a network of the profile with other arguments."""
    ordinary = {"in_shape": [1, 32, 32], "classes": 2, "channels": [4, 8], "strides": [2, 2]}
    return {"name": name, "args": {**ordinary, **args}}


def test_a_sound_bundle_is_accepted_and_takes_its_place(federation: Federation) -> None:
    """The record tells the network and its size; every step of its way is in the audit trail."""
    federation.publish()
    ada = federation.researcher()
    answer = ada.submit(bundle_bytes(), "Small classifier")
    record = answer.get_json()
    assert (answer.status_code, record["state"]) == (201, "accepted")
    assert record["summary"]["network"] == "Classifier"
    assert record["summary"]["parameters"] == 32
    assert [place["state"] for place in record["benchmarks"]] == ["approved"]
    assert ada.get(f"/models/{record['digest']}").get_json() == record
    assert [after for _, _, after in federation.audit(record["digest"])] == ["received", "checking", "accepted"]


BAD = {
    "pickle": (lambda: rezipped(bundle_bytes(), {WEIGHTS: b"\x80\x04K\x01."}), "bundle-has-code"),
    "expression": (lambda: with_profile(network=network(classes="$__import__('os')")), "bundle-has-code"),
    "target": (
        lambda: with_profile(network={"_target_": "os.system", "command": "true"}),
        "bundle-has-code",
    ),
    "unknown network": (lambda: with_profile(network=network("Backdoor")), "network-unknown"),
    "unknown argument": (lambda: with_profile(network=network(hook="x")), "network-argument-invalid"),
    "huge network": (lambda: with_profile(network=network(channels=[2048] * 8, strides=[1] * 8)), "network-too-large"),
    "script": (lambda: rezipped(bundle_bytes(), {}, add={"scripts/run.py": b"print()"}), "bundle-has-code"),
    "not an archive": (lambda: b"no archive at all" * 100, "bundle-archive-unsafe"),
    "broken weights": (lambda: rezipped(bundle_bytes(), {WEIGHTS: b"\x08" + bytes(40)}), "weights-invalid"),
    "other labels": (lambda: with_profile(labels=["normal", "mass"]), "model-incompatible"),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_bundle_is_refused_with_its_code(federation: Federation, kind: str) -> None:
    """Its owner sees why; nobody else sees it, it has no place on the benchmark and no evaluation."""
    make, code = BAD[kind]
    federation.publish()
    federation.silo().register_cohort(federation.publish())
    ada, data = federation.researcher(), make()
    answer = ada.submit(data)
    assert answer.get_json()["code"] == code
    record = ada.get(f"/models/{digest_bytes(data)}").get_json()
    assert (record["state"], record["code"], record["benchmarks"]) == ("rejected", code, [])
    assert federation.researcher("Eve").get("/models").get_json()["models"] == []
    assert federation.admin.get("/evaluations").get_json()["evaluations"] == []
    assert not federation.services.blobs.has(digest_bytes(data))


def test_a_refusal_tells_nothing_of_what_was_sent(federation: Federation) -> None:
    """Not a name from the archive, not a value from the profile."""
    federation.publish()
    answer = federation.researcher().submit(with_profile(network=network("Doe", patient="DOE^JANE")))
    assert "DOE" not in answer.text.upper().replace("DOES", "")
    assert set(answer.get_json()) == {"type", "title", "status", "code", "hint", "fields"}


def test_the_same_bundle_again_changes_nothing(federation: Federation) -> None:
    """A submission whose answer was lost can be sent again."""
    federation.publish()
    ada = federation.researcher()
    first, again = ada.submit(bundle_bytes()), ada.submit(bundle_bytes())
    assert first.get_json() == again.get_json()
    assert len(ada.get("/models").get_json()["models"]) == 1


def test_a_model_belongs_to_who_submitted_it_first(federation: Federation) -> None:
    """Somebody else with the same bytes is told so, and cannot withdraw it."""
    federation.publish()
    digest = federation.researcher().submit(bundle_bytes()).get_json()["digest"]
    eve = federation.researcher("Eve")
    assert eve.submit(bundle_bytes()).get_json()["code"] == "already-exists"
    assert eve.post(f"/models/{digest}/withdraw").get_json()["code"] == "not-permitted"


def test_a_model_is_not_taken_by_naming_its_digest(federation: Federation) -> None:
    """Without having sent the bytes, a digest from the leaderboard gives nothing."""
    federation.publish()
    data = bundle_bytes()
    federation.researcher().submit(data)
    body = {
        "bundle": {"digest": digest_bytes(data), "size": len(data)},
        "card": {"name": "Mine"},
        "benchmark": "chest_phantom",
        "benchmark_version": 1,
    }
    assert federation.researcher("Eve").post("/models", body).get_json()["code"] == "not-found"


def test_a_model_goes_to_a_benchmark_that_there_is(federation: Federation) -> None:
    """Another version is another benchmark."""
    federation.publish()
    assert federation.researcher().submit(bundle_bytes(), version=2).get_json()["code"] == "benchmark-unknown"


def test_a_withdrawn_model_gets_no_new_work(federation: Federation) -> None:
    """Its association ends, the open evaluation goes on without it, and it cannot come back."""
    federation.silo().register_cohort(federation.publish())
    ada = federation.researcher()
    kept, gone = (ada.submit(bundle_bytes(seed)).get_json()["digest"] for seed in (1, 2))
    answer = ada.post(f"/models/{gone}/withdraw").get_json()
    assert (answer["state"], answer["benchmarks"][0]["state"]) == ("withdrawn", "ended")
    open_ones = [row for row in ada.get("/evaluations").get_json()["evaluations"] if row["state"] == "open"]
    assert [row["models"] for row in open_ones] == [[kept]]
    assert ada.submit(bundle_bytes(2)).get_json()["code"] == "state-conflict"


@pytest.mark.parametrize("role", ["reader", "benchmark-owner", "data-steward", "hub-admin"])
def test_only_researchers_submit(federation: Federation, role: str) -> None:
    """Other roles alone neither upload nor submit."""
    caller: Caller = federation.person("Eve", role)
    body = {"digest": digest_bytes(b"x"), "size": 1, "purpose": "model"}
    assert caller.post("/uploads", body).get_json()["code"] == "not-permitted"


def test_a_rejected_model_is_never_accepted_without_a_check() -> None:
    """Every way to accepted leads through checking."""
    assert [state for state in MODEL.states if MODEL.allows(state, "accept")] == ["checking"]
    with pytest.raises(StateConflict):
        MODEL.after("withdrawn", "check")


def test_an_organisation_submits_only_so_many_different_models_a_month(federation: Federation) -> None:
    """The same model again is none; another organisation has a count of its own."""
    federation.publish()
    tight = federation.services.config.model_copy(update={"submissions_per_month": 2})
    object.__setattr__(federation.services, "config", tight)
    ada = federation.researcher()
    assert [ada.submit(bundle_bytes(seed)).status_code for seed in (1, 2, 2)] == [201, 201, 201]
    refused = ada.submit(bundle_bytes(3))
    assert (refused.status_code, refused.get_json()["code"]) == (429, "budget-exceeded")
    eve = federation.person("Eve", "researcher", organisation="Another university")
    assert eve.submit(bundle_bytes(3)).status_code == 201
