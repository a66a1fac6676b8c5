"""A leaderboard can be computed anew by anyone its inputs may be told to, to the very same bytes."""

import json
from pathlib import Path

import pytest
from sqlalchemy import select

from federation_hub.client.recompute import from_folder, recompute
from federation_hub.leaderboards.service import inputs_of, snapshot_of
from federation_hub.leaderboards.snapshots import snapshot_bytes
from federation_hub.leaderboards.tables import Snapshot
from silo_node.wire.errors import BadInput, IntegrityError
from tests.hub.federation import Federation
from tests.hub.test_leaderboard_service import cells, publish_as, standing


def answers(federation: Federation) -> tuple[str, bytes, bytes]:
    """Return the standing snapshot's digest, its bytes and its inputs, as anybody gets them."""
    digest = standing(federation).digest
    body, inputs = (federation.anybody.get(f"/snapshots/{digest}{end}").data for end in ("", "/inputs"))
    return digest, body, inputs


def test_the_published_inputs_give_the_same_bytes(filled: Federation) -> None:
    """All four hospitals let their own results be shown, so anybody can check the board."""
    publish_as(filled, *["pseudonym"] * 4)
    digest, body, inputs = answers(filled)
    found = recompute(body, inputs, digest=digest)
    assert (found.same, found.differences, found.blocks) == (True, (), 4)


def test_another_number_in_the_inputs_gives_another_board(filled: Federation) -> None:
    """And the parts that differ are named."""
    publish_as(filled, *["pseudonym"] * 4)
    digest, body, inputs = answers(filled)
    document = json.loads(inputs)
    document["blocks"][0]["block"]["classes"][0]["metrics"][0]["theta"][0] -= 0.05
    found = recompute(body, json.dumps(document).encode(), digest=digest)
    assert not found.same
    assert "rows" in found.differences


def test_bytes_that_are_not_the_digests_are_not_even_compared(filled: Federation) -> None:
    """Nor is something that is no leaderboard's inputs."""
    publish_as(filled, *["pseudonym"] * 4)
    digest, body, inputs = answers(filled)
    with pytest.raises(IntegrityError, match="digest"):
        recompute(body + b" ", inputs, digest=digest)
    for bad in (b"{}", b"[]", b"no", json.dumps(json.loads(inputs) | {"blocks": [{}]}).encode()):
        with pytest.raises(BadInput):
            recompute(body, bad, digest=digest)


def test_the_inputs_name_no_silo_and_no_cohort(filled: Federation) -> None:
    """What would let a reader follow a hospital from one benchmark to another stays in the hub."""
    publish_as(filled, *["pseudonym"] * 4)
    told = {str(cell) for cell in cells(json.loads(answers(filled)[2]))}
    with filled.services.database.reading() as session:
        inputs = inputs_of(session, snapshot_of(session, standing(filled).digest))
    secrets = {value for block in inputs.blocks for value in (block.silo_id, block.block["cohort"])}
    assert not secrets & told


def test_inputs_are_withheld_where_a_hospital_withholds_its_results(filled: Federation) -> None:
    """From the public, not from the benchmark's owner; and a wish that came later counts for earlier boards, too."""
    publish_as(filled, *["pseudonym"] * 4)
    earlier = standing(filled).digest
    publish_as(filled, "pseudonym", "withheld")
    researcher = filled.person("Rhea", "researcher")
    for digest in (earlier, standing(filled).digest):
        answer = filled.anybody.get(f"/snapshots/{digest}/inputs")
        assert (answer.status_code, answer.get_json()["code"]) == (403, "inputs-withheld")
        assert researcher.get(f"/snapshots/{digest}/inputs").status_code == 403
        body, inputs = (filled.admin.get(f"/snapshots/{digest}{end}").data for end in ("", "/inputs"))
        assert recompute(body, inputs, digest=digest).same


def test_every_snapshot_ever_made_can_be_computed_again_at_the_hub(filled: Federation) -> None:
    """Superseded ones as well: blocks are kept when a later one takes their place."""
    with filled.services.database.reading() as session:
        for found in session.scalars(select(Snapshot)):
            assert snapshot_bytes(inputs_of(session, found)) == found.body


def test_a_snapshot_from_before_inputs_were_kept_says_so(filled: Federation) -> None:
    """It stays readable; only its inputs are not there."""
    digest = standing(filled).digest
    with filled.services.database.session() as session:
        session.get_one(Snapshot, digest).manifest = None
    assert filled.anybody.get(f"/snapshots/{digest}").status_code == 200
    assert filled.admin.get(f"/snapshots/{digest}/inputs").get_json()["code"] == "not-found"


def test_a_folder_without_the_snapshot_is_named(tmp_path: Path) -> None:
    """The message says which folder."""
    with pytest.raises(BadInput, match=str(tmp_path)):
        from_folder(tmp_path, "blake3:" + "0" * 64)


def test_the_curves_of_a_model_lie_within_their_bands(filled: Federation) -> None:
    """Anybody may have them where enough hospitals reported; a model of another board has none."""
    snapshot = standing(filled)
    model = json.loads(snapshot.body)["rows"][0]["model"]
    curves = filled.anybody.get(f"/snapshots/{snapshot.digest}/curves/{model}").get_json()["classes"]["opacity"]
    assert curves["sites"] == 4
    assert curves["auroc"]["low"] <= curves["auroc"]["estimate"] <= curves["auroc"]["high"]
    assert all(point["tpr_low"] <= point["tpr"] <= point["tpr_high"] for point in curves["roc"])
    other = "blake3:" + "9" * 64
    assert filled.anybody.get(f"/snapshots/{snapshot.digest}/curves/{other}").status_code == 404
