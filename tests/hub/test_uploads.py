"""Bytes arrive whole and as declared, or not at all; an interrupted transfer goes on where it stopped."""

import os
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import update

from federation_hub.db import now
from federation_hub.storage.blobs import BlobStore
from federation_hub.storage.partial import PartialUploads
from federation_hub.storage.tables import Upload
from federation_hub.sweeper import sweep
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import MedSiloError
from silo_node.wire.transfers import OFFSET_HEADER
from tests.hub.federation import Caller, Federation, bundle_bytes

DATA = os.urandom(300_000)


def announce(caller: Caller, data: bytes = DATA, *, size: int | None = None) -> dict[str, Any]:
    """Announce some bytes and return the status."""
    body = {"digest": digest_bytes(data), "size": size or len(data), "purpose": "model"}
    answer = caller.post("/uploads", body)
    assert answer.status_code == 201, answer.text
    return dict(answer.get_json())


def test_an_upload_in_chunks_becomes_a_blob_under_its_digest(federation: Federation) -> None:
    """It is there once its last byte was hashed, with exactly its bytes."""
    ada, blobs = federation.researcher(), federation.services.blobs
    upload_id = announce(ada)["upload_id"]
    for start in range(0, len(DATA), 100_000):
        assert not blobs.has(digest_bytes(DATA))
        status = ada.send_chunk(upload_id, start, DATA[start : start + 100_000]).get_json()
    assert status["complete"]
    assert status["offset"] == len(DATA)
    assert blobs.path(digest_bytes(DATA)).read_bytes() == DATA
    assert list(blobs.partial.iterdir()) == []


def test_an_interrupted_upload_goes_on_at_its_offset(federation: Federation) -> None:
    """Announcing the same bytes again gives the same upload, and says how far it is."""
    ada = federation.researcher()
    first = announce(ada)
    ada.send_chunk(first["upload_id"], 0, DATA[:120_000])
    again = announce(ada)
    assert (again["upload_id"], again["offset"], again["complete"]) == (first["upload_id"], 120_000, False)
    assert ada.get(f"/uploads/{first['upload_id']}").get_json() == again
    assert ada.send_chunk(again["upload_id"], 120_000, DATA[120_000:]).get_json()["complete"]


def test_an_upload_survives_a_restart_of_the_hub(federation: Federation) -> None:
    """The hash of what is on disk is made again; a byte changed meanwhile is found at the end."""
    ada, hub = federation.researcher(), federation.services
    upload_id = announce(ada)["upload_id"]
    ada.send_chunk(upload_id, 0, DATA[:120_000])
    object.__setattr__(hub, "partials", PartialUploads(hub.blobs.partial))
    assert ada.send_chunk(upload_id, 120_000, DATA[120_000:]).get_json()["complete"]
    assert hub.blobs.has(digest_bytes(DATA))


@pytest.mark.parametrize("asked", ["announced again", "asked for its status"])
def test_a_hub_killed_between_the_last_byte_and_the_blob_settles_it_later(federation: Federation, asked: str) -> None:
    """Every byte was written and the process ended before it was said: the next question finds a whole blob."""
    ada, hub = federation.researcher(), federation.services
    upload_id = announce(ada)["upload_id"]
    hub.partials.path(upload_id).write_bytes(DATA)
    status = announce(ada) if asked == "announced again" else ada.get(f"/uploads/{upload_id}").get_json()
    assert (status["offset"], status["complete"]) == (len(DATA), True)
    assert hub.blobs.path(digest_bytes(DATA)).read_bytes() == DATA
    assert list(hub.blobs.partial.iterdir()) == []


def test_a_hub_killed_between_the_blob_and_the_database_settles_it_later(federation: Federation) -> None:
    """The blob was there already; the upload completes all the same and leaves nothing behind."""
    ada, hub = federation.researcher(), federation.services
    upload_id = announce(ada)["upload_id"]
    hub.partials.path(upload_id).write_bytes(DATA)
    hub.blobs.link(hub.partials.path(upload_id), digest_bytes(DATA))
    assert announce(ada)["complete"]
    assert list(hub.blobs.partial.iterdir()) == []


def test_a_question_while_another_request_settles_the_upload_is_answered(federation: Federation) -> None:
    """Every byte is there, and it is not complete yet: the client asks again."""
    ada, partials = federation.researcher(), federation.services.partials
    upload_id = announce(ada)["upload_id"]
    partials.path(upload_id).write_bytes(DATA)
    with partials.settling(upload_id):
        status = announce(ada)
        assert (status["offset"], status["complete"]) == (len(DATA), False)
    assert announce(ada)["complete"]


def test_wrong_bytes_left_by_a_killed_hub_are_thrown_away(federation: Federation) -> None:
    """The announcement that finds them is refused as the last chunk would have been; the next one begins anew."""
    ada, hub = federation.researcher(), federation.services
    hub.partials.path(announce(ada)["upload_id"]).write_bytes(bytes(len(DATA)))
    body = {"digest": digest_bytes(DATA), "size": len(DATA), "purpose": "model"}
    assert ada.post("/uploads", body).get_json()["code"] == "digest-mismatch"
    assert announce(ada)["offset"] == 0


@pytest.mark.parametrize("offset", [5, 250_000])
def test_a_chunk_at_another_offset_is_refused_and_nothing_is_lost(federation: Federation, offset: int) -> None:
    """The client asks for the offset and goes on."""
    ada = federation.researcher()
    upload_id = announce(ada)["upload_id"]
    ada.send_chunk(upload_id, 0, DATA[:120_000])
    assert ada.send_chunk(upload_id, offset, DATA[:50]).get_json()["code"] == "offset-mismatch"
    assert ada.get(f"/uploads/{upload_id}").get_json()["offset"] == 120_000
    assert ada.send_chunk(upload_id, 120_000, DATA[120_000:]).get_json()["complete"]


def test_bytes_with_another_digest_are_thrown_away(federation: Federation) -> None:
    """Nothing of them is kept, the upload is over, and announcing again begins at nought."""
    ada, blobs = federation.researcher(), federation.services.blobs
    upload_id = announce(ada)["upload_id"]
    wrong = DATA[:-1] + bytes([DATA[-1] ^ 1])
    answer = ada.send_chunk(upload_id, 0, wrong)
    assert (answer.status_code, answer.get_json()["code"]) == (422, "digest-mismatch")
    assert list(blobs.partial.iterdir()) == []
    assert not blobs.has(digest_bytes(wrong))
    assert ada.send_chunk(upload_id, 0, DATA).get_json()["code"] == "state-conflict"
    assert announce(ada)["offset"] == 0


def test_more_bytes_than_declared_are_refused(federation: Federation) -> None:
    """The upload keeps what came before the chunk that ran over."""
    ada = federation.researcher()
    upload_id = announce(ada, size=len(DATA) - 10)["upload_id"]
    assert ada.send_chunk(upload_id, 0, DATA).get_json()["code"] == "size-mismatch"
    assert not federation.services.blobs.has(digest_bytes(DATA))


def test_a_truncated_upload_never_shows(federation: Federation) -> None:
    """A model cannot be submitted from half of its bytes."""
    ada = federation.researcher()
    federation.publish()
    upload_id = announce(ada)["upload_id"]
    ada.send_chunk(upload_id, 0, DATA[:-1])
    body = {
        "bundle": {"digest": digest_bytes(DATA), "size": len(DATA)},
        "card": {"name": "Half"},
        "benchmark": "chest_phantom",
        "benchmark_version": 1,
    }
    assert ada.post("/models", body).get_json()["code"] == "not-found"
    assert ada.get("/models").get_json() == {"models": [], "next": None}


def test_a_chunk_larger_than_asked_for_is_refused(federation: Federation) -> None:
    """The hub says how large a chunk may be, so that its memory and disk stay predictable."""
    ada = federation.researcher()
    status = announce(ada, os.urandom(9 * 1024 * 1024))
    answer = ada.send_chunk(status["upload_id"], 0, bytes(status["chunk_bytes"] + 1))
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body-too-large")


@pytest.mark.parametrize("offset", ["", "-1", "1e3", "٣", "9" * 40])
def test_an_offset_that_is_no_number_is_refused(federation: Federation, offset: str) -> None:
    """Anything but decimal digits is another offset."""
    ada = federation.researcher()
    path = f"/uploads/{announce(ada)['upload_id']}"
    answer = ada.request("PATCH", path, data=b"x", headers={OFFSET_HEADER: offset.encode().decode("latin-1")})
    assert answer.get_json()["code"] == "offset-mismatch"


def test_knowing_a_digest_is_not_having_the_bytes(federation: Federation) -> None:
    """Digests are public; another organisation must send the bytes itself, and its own person need not twice."""
    ada, eve = federation.researcher(), federation.researcher("Eve")
    ada.upload(DATA)
    assert announce(ada)["complete"]
    assert not announce(eve)["complete"]
    assert eve.get(f"/blobs/{digest_bytes(DATA)}").status_code == 404


def test_nobody_touches_the_upload_of_another(federation: Federation) -> None:
    """Neither its offset nor its bytes."""
    upload_id = announce(federation.researcher())["upload_id"]
    eve = federation.researcher("Eve")
    assert eve.get(f"/uploads/{upload_id}").status_code == 404
    assert eve.send_chunk(upload_id, 0, DATA).status_code == 404


def test_one_writer_at_a_time(federation: Federation) -> None:
    """While one request writes an upload, another one is told to come back."""
    partials = federation.services.partials

    class Body:
        """A body during which a second request arrives."""

        def readinto(self, buffer: memoryview, /) -> int:
            with pytest.raises(MedSiloError, match="state-conflict"):
                partials.append("upl-1", Body(), offset=0, size=10)
            return 0

    partials.append("upl-1", Body(), offset=0, size=10)


def test_a_body_that_breaks_off_leaves_a_resumable_upload(federation: Federation) -> None:
    """What was written before the break counts; the digest is still right at the end."""
    partials = federation.services.partials

    class Broken:
        """A body whose connection breaks after its first block."""

        def __init__(self) -> None:
            self.blocks = [DATA[:1000]]

        def readinto(self, buffer: memoryview, /) -> int:
            if not self.blocks:
                raise ConnectionResetError
            block = self.blocks.pop()
            buffer[: len(block)] = block
            return len(block)

    with pytest.raises(ConnectionResetError):
        partials.append("upl-2", Broken(), offset=0, size=len(DATA))
    offset = partials.offset("upl-2")
    assert offset == 1000

    assert partials.append("upl-2", BytesIO(DATA[offset:]), offset=offset, size=len(DATA)) == len(DATA)
    with partials.settling("upl-2") as digest:
        assert digest == digest_bytes(DATA)


def test_a_download_can_begin_anywhere(federation: Federation) -> None:
    """``Range`` gives the rest of a blob; the whole one carries its digest as its entity tag."""
    ada = federation.researcher()
    federation.publish()
    data = bundle_bytes()
    digest = ada.submit(data).get_json()["digest"]
    whole = ada.get(f"/blobs/{digest}")
    assert whole.data == data
    assert whole.headers["ETag"] == f'"{digest}"'
    rest = ada.request("GET", f"/blobs/{digest}", headers={"Range": "bytes=1000-"})
    assert (rest.status_code, rest.data) == (206, data[1000:])
    assert rest.headers["Content-Range"] == f"bytes 1000-{len(data) - 1}/{len(data)}"


def test_nobody_reads_bytes_without_a_token(client: FlaskClient) -> None:
    """Blobs are never public."""
    assert client.get(f"/api/v1/blobs/{digest_bytes(DATA)}").status_code == 401


def test_a_silo_sends_updates_only_for_a_round_it_takes_part_in(federation: Federation) -> None:
    """Without a round there is nothing to upload, and a silo never uploads models."""
    silo = federation.silo()
    reference = {"digest": digest_bytes(DATA), "size": len(DATA)}
    assert silo.post("/uploads", {**reference, "purpose": "update"}).get_json()["code"] == "update-stale"
    assert silo.post("/uploads", {**reference, "purpose": "model"}).get_json()["code"] == "not-permitted"


def test_a_full_disk_is_said_before_the_first_byte(federation: Federation) -> None:
    """A bundle larger than the limit is refused at once; so is one larger than the disk."""
    ada = federation.researcher()
    body = {"digest": digest_bytes(DATA), "purpose": "model"}
    assert ada.post("/uploads", {**body, "size": 2**40}).get_json()["code"] == "bundle-too-large"


def test_an_upload_nobody_continues_is_thrown_away(federation: Federation) -> None:
    """After days without a byte its disk space is free again; one that was touched lately stays."""
    ada, hub = federation.researcher(), federation.services
    left, kept = (announce(ada, data)["upload_id"] for data in (DATA, DATA[1:]))
    for upload_id in (left, kept):
        ada.send_chunk(upload_id, 0, DATA[:10])
    with hub.database.session() as session:
        session.execute(update(Upload).values(created=now() - timedelta(days=4)))
    os.utime(hub.partials.path(left), (0, 0))
    sweep(hub)
    assert [path.name for path in hub.blobs.partial.iterdir()] == [kept]
    assert ada.send_chunk(left, 10, DATA[10:]).get_json()["code"] == "state-conflict"


def test_the_store_never_shows_half_a_blob(tmp_path: Path) -> None:
    """A blob appears by one rename, under the digest of its bytes."""
    store = BlobStore(tmp_path)
    digest = store.put_bytes(b"abc")
    assert digest == digest_bytes(b"abc")
    assert store.size(digest) == 3
    with store.open_read(digest) as file:
        assert file.read() == b"abc"
    path = store.new_scratch()
    path.write_bytes(b"def")
    assert store.put_file(path) == digest_bytes(b"def")
    assert list(store.scratch.iterdir()) == []
    store.delete(digest)
    store.delete(digest)
    with pytest.raises(MedSiloError, match="not-found"):
        store.size(digest)
