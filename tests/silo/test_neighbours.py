"""Models sealed for neighbours: what opens, what does not, and whom a site takes for a neighbour."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import load_file, save_file

from pipelines.masking.keys import PrivatePair
from silo_node.identity import Enrolment, Identity
from silo_node.neighbours.exchange import open_models, peers_of, seal_model
from silo_node.neighbours.own import OwnPart, public_key
from silo_node.neighbours.sealing import CHUNK_BYTES, open_file, seal_file, sealed_size
from silo_node.state import Home
from silo_node.wire.canonical import message_digest
from silo_node.wire.envelope import new_key, public_key_text, seal
from silo_node.wire.errors import IntegrityError
from silo_node.wire.masking import Member
from silo_node.wire.neighbours import Decentralised, Neighbour
from silo_node.wire.studies import RoundTask, StudyPlan
from silo_node.wire.transfers import BlobReference

NAMES = ("silo-aaaaaa", "silo-bbbbbb", "silo-cccccc")
BLOB = BlobReference(digest="blake3:" + "1" * 64, size=1)
A, B, C = NAMES


class Silo:
    """A silo with its key and its part in the study."""

    def __init__(self, folder: Path, name: str) -> None:
        self.key: Ed25519PrivateKey = new_key()
        self.name = name
        enrolment = Enrolment(
            silo_id=name,
            silo_name=name,
            hub_url="http://127.0.0.1:1",
            hub_public_key=public_key_text(new_key().public_key()),
            wire_version=1,
            public_key=public_key_text(self.key.public_key()),
        )
        self.identity = Identity(enrolment, self.key, "token")
        self.folder = folder / name
        self.own = OwnPart.of(Home(self.folder), "study-000001")


@pytest.fixture
def silos(tmp_path: Path) -> dict[str, Silo]:
    return {name: Silo(tmp_path, name) for name in NAMES}


def study(silos: dict[str, Silo]) -> StudyPlan:
    """A and B are neighbours, B and C are; A and C are not."""
    members = tuple(Member(silo_id=name, public_key=silo.identity.enrolment.public_key) for name, silo in silos.items())
    return StudyPlan.model_validate(
        {
            "name": "rings",
            "title": "Rings",
            "benchmark": {"name": "toy", "version": 1, "digest": "blake3:" + "2" * 64},
            "model": BLOB.model_dump(),
            "silos": NAMES,
            "rounds": 3,
            "quorum": 2,
            "deadline_seconds": 60,
            "decentralised": Decentralised(edges=((A, B), (B, C)), members=members),
        }
    )


def task(plan: StudyPlan, number: int, *neighbours: Neighbour) -> RoundTask:
    return RoundTask(
        study_id="study-000001",
        plan=plan,
        plan_digest=message_digest(plan),
        round=number,
        validate_only=False,
        cohort="keyed-blake3:" + "3" * 64,
        weights=BLOB,
        neighbours=neighbours,
    )


def introduced(silo: Silo, plan: StudyPlan, **changes: Any) -> Neighbour:
    stated = public_key(silo.own.keys, "study-000001", silo.name, message_digest(plan)).model_copy(update=changes)
    return Neighbour(silo_id=silo.name, key=seal(stated, silo.key))


def shown(silo: Silo, plan: StudyPlan, model: Path, number: int, *receivers: Silo) -> tuple[Neighbour, Path]:
    """Return a neighbour with its sealed model as the hub passes it on, and the sealed file."""
    body = task(plan, number, *(introduced(receiver, plan) for receiver in receivers))
    target = model.with_suffix(".sealed")
    blob, statement = seal_model(model, target, peers_of(body, silo.name), silo.own, silo.identity, body)
    return introduced(silo, plan).model_copy(update={"model": statement, "sealed": blob}), target


def write_model(folder: Path, value: float) -> Path:
    path = folder / "model.safetensors"
    save_file({"w": np.full(5, value, np.float32)}, path)
    return path


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, 2 * CHUNK_BYTES + 7])
def test_a_file_opens_for_its_receiver_only_and_only_whole(size: int, tmp_path: Path) -> None:
    own, other, stranger = (PrivatePair(os.urandom(32), b"neighbour") for _ in range(3))
    plain, sealed, back = (tmp_path / name for name in ("plain", "sealed", "back"))
    plain.write_bytes(os.urandom(size))
    (wrapped,) = seal_file(plain, sealed, own, A, {B: other.public}, b"here")
    assert sealed.stat().st_size == sealed_size(size)
    open_file(sealed, back, other, B, A, own.public, wrapped, b"here")
    assert back.read_bytes() == plain.read_bytes()
    whole = sealed.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    cases = [
        (whole, stranger, b"here"),
        (whole, other, b"there"),
        (whole[:-1], other, b"here"),
        (flipped, other, b"here"),
    ]
    if size > CHUNK_BYTES:
        first = CHUNK_BYTES + 16
        cases += [(whole[:first], other, b"here"), (whole[first : 2 * first] + whole[:first], other, b"here")]
    for data, keys, context in cases:
        sealed.write_bytes(data)
        with pytest.raises(IntegrityError, match="neighbour-unsound"):
            open_file(sealed, back, keys, B, A, own.public, wrapped, context)
        assert not back.exists()


def test_a_neighbour_reads_the_model_and_nobody_else_does(silos: dict[str, Silo], tmp_path: Path) -> None:
    plan = study(silos)
    model = write_model(silos[B].folder, 7.0)
    neighbour, sealed = shown(silos[B], plan, model, 1, silos[A], silos[C])
    assert np.full(5, 7.0, np.float32).tobytes() not in sealed.read_bytes()
    for name in (A, C):
        peers = peers_of(task(plan, 2, neighbour), name)
        opened = open_models(peers, {B: sealed}, silos[name].own, silos[name].identity, model, tmp_path)
        assert load_file(opened[B])["w"].tolist() == [7.0] * 5
        opened[B].unlink()
    silos[A].own.folder.joinpath("sealing.key").write_bytes(os.urandom(32))
    assert open_models(peers, {B: sealed}, silos[A].own, silos[A].identity, model, tmp_path) == {}


def test_a_sound_envelope_around_another_network_is_left_out(silos: dict[str, Silo], tmp_path: Path) -> None:
    """A neighbour that sends rubbish does not stop this site."""
    plan = study(silos)
    save_file({"w": np.zeros(6, np.float32)}, silos[B].folder / "other.safetensors")
    neighbour, sealed = shown(silos[B], plan, silos[B].folder / "other.safetensors", 1, silos[A])
    like = write_model(tmp_path, 0.0)
    peers = peers_of(task(plan, 2, neighbour), A)
    assert open_models(peers, {B: sealed}, silos[A].own, silos[A].identity, like, tmp_path) == {}


def test_what_the_hub_makes_up_is_refused(silos: dict[str, Silo]) -> None:
    """A silo that is no neighbour, a key of its own, another's key or model, an old model, one for another plan."""
    plan = study(silos)
    model = write_model(silos[B].folder, 1.0)
    sound, _ = shown(silos[B], plan, model, 2, silos[A])
    old, _ = shown(silos[B], plan, model, 1, silos[A])
    forged = Silo(silos[A].folder, B)
    for neighbours in (
        (introduced(silos[C], plan),),
        (introduced(forged, plan),),
        (introduced(silos[B], plan).model_copy(update={"key": introduced(silos[C], plan).key}),),
        (introduced(silos[B], plan, study_id="study-000002"),),
        (introduced(silos[B], plan), introduced(silos[B], plan)),
        (old,),
        (sound.model_copy(update={"sealed": BLOB}),),
    ):
        with pytest.raises(IntegrityError, match="neighbour-unsound"):
            peers_of(task(plan, 3, *neighbours), A)
    assert [peer.silo_id for peer in peers_of(task(plan, 3, sound), A)] == [B]


def test_own_models_are_kept_for_a_round_that_is_asked_again(silos: dict[str, Silo]) -> None:
    own = silos[A].own
    assert own.before(1) is None
    for number in range(1, 6):
        own.keep(number, write_model(silos[A].folder, float(number)))
    before = own.before(5)
    assert before is not None
    assert load_file(before)["w"][0] == 4
    assert len(list(own.folder.glob("round-*"))) == 3
    own.note_gamma(0.5)
    own.note_gamma(0.7)
    assert own.gamma == 0.5
    assert json.loads((own.folder / "gamma.json").read_text()) == 0.5
