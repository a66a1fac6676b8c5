"""Snapshots: the same inputs give the same bytes, others supersede, and nothing is published from too few hospitals."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select

from federation_hub.benchmarks.service import find
from federation_hub.evaluations.tables import EstimateBlockRow
from federation_hub.leaderboards.csv_table import board_csv
from federation_hub.leaderboards.labels import pseudonym, public_sites
from federation_hub.leaderboards.reading import UNNAMED, read_board
from federation_hub.leaderboards.service import gather, latest
from federation_hub.leaderboards.snapshots import snapshot_bytes
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Silo
from silo_node.wire.digests import digest_bytes
from tests.hub import showcase
from tests.hub.boards import board, entry
from tests.hub.federation import Federation


def standing(federation: Federation) -> Snapshot:
    """Return the snapshot that stands."""
    with federation.services.database.reading() as session:
        found = latest(session, "chest_phantom")
        assert found is not None
        assert found.body, "it is read while there is a session"
    return found


def publish_as(federation: Federation, *wishes: str) -> None:
    """Let the silos, in the order they joined, wish to be published so, and refresh the board."""
    with federation.services.database.session() as session:
        silos = session.scalars(select(Silo).order_by(Silo.created)).all()
        for silo, wish in zip(silos, wishes, strict=False):
            silo.publication = wish
    federation.refresh()


def set_newest_block(federation: Federation, state: str) -> None:
    """Let the block that came last count, or not."""
    with federation.services.database.session() as session:
        newest = session.scalars(select(EstimateBlockRow).order_by(EstimateBlockRow.received.desc())).first()
        assert newest is not None
        newest.state = state


def cells(value: Any) -> Iterator[Any]:
    """Yield every scalar of a JSON value, keys included."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from cells(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from cells(inner)
    else:
        yield value


def test_a_snapshot_is_named_by_the_digest_of_its_bytes(filled: Federation) -> None:
    """Whoever has the bytes can check the address."""
    snapshot = standing(filled)
    assert digest_bytes(snapshot.body) == snapshot.digest
    answer = filled.anybody.get("/benchmarks/chest_phantom/leaderboard")
    assert digest_bytes(answer.data) == snapshot.digest == answer.headers["Snapshot-Digest"]


def test_the_same_inputs_give_the_same_bytes(filled: Federation) -> None:
    """A refresh without a change writes nothing; computing anew gives the very bytes."""
    before = standing(filled)
    assert filled.refresh() == before.digest
    with filled.services.database.reading() as session:
        assert snapshot_bytes(gather(session, find(session, "chest_phantom"))) == before.body
        assert session.query(Snapshot).filter_by(superseded_by=None).count() == 1


def test_every_accepted_block_supersedes_the_board_before_it(filled: Federation) -> None:
    """Four hospitals answered and a study ended, so there are five; each names the one that took its place."""
    with filled.services.database.reading() as session:
        rows = session.scalars(select(Snapshot).order_by(Snapshot.created)).all()
    assert [row.superseded_by for row in rows] == [*(row.digest for row in rows[1:]), None]


def test_inputs_that_come_back_make_the_earlier_snapshot_stand_again(filled: Federation) -> None:
    """A block that is withdrawn and upheld again leads back to the very board there was, under its address."""
    before = filled.refresh()
    set_newest_block(filled, "withdrawn")
    without = filled.refresh()
    set_newest_block(filled, "accepted")
    assert before != without
    assert filled.refresh() == before
    with filled.services.database.reading() as session:
        snapshots = {row.digest: row.superseded_by for row in session.scalars(select(Snapshot))}
        assert (snapshots[before], snapshots[without]) == (None, before)


def test_the_board_shows_what_the_sites_sent(filled: Federation) -> None:
    """The pooled score of a model is the mean of its sites' signed estimates, and its sites are named by letter."""
    found = read_board(standing(filled).body)
    with filled.services.database.reading() as session:
        blocks = [row.block for row in session.scalars(select(EstimateBlockRow).order_by(EstimateBlockRow.received))]
    for row in found.entries:
        sent = [block["classes"][0]["metrics"][0]["theta"][block["models"].index(row.digest)] for block in blocks]
        assert row.estimate.value == pytest.approx(sum(sent) / 4, abs=1e-6)
        assert [site.estimate.value for site in row.sites] == pytest.approx(sent, abs=1e-6)
    assert found.sites == ("Site A", "Site B", "Site C", "Site D")
    assert (found.site_count, found.cases) == (4, 4 * showcase.CASES)


def test_no_silo_id_and_no_unwished_name_is_in_a_snapshot(filled: Federation) -> None:
    """Readers could follow an id from one benchmark to another; a name needs the hospital's wish."""
    with filled.services.database.reading() as session:
        secrets = {text for silo in session.scalars(select(Silo)) for text in (silo.id, silo.name)}
    told = {str(cell) for cell in cells(json.loads(standing(filled).body))}
    assert not told & secrets


def test_a_hospital_is_named_when_it_wishes_so(filled: Federation) -> None:
    """The others keep their letters."""
    publish_as(filled, "pseudonym", "named")
    assert set(read_board(standing(filled).body).sites) == {"Harbour", "Site A", "Site C", "Site D"}


def test_a_hospital_that_withholds_counts_but_is_not_shown(filled: Federation) -> None:
    """The pooled score stays; its own values are gone, and as the worst site it is not told by letter."""
    before = read_board(standing(filled).body)
    publish_as(filled, "pseudonym", "pseudonym", "withheld")
    after = read_board(standing(filled).body)
    assert after.sites == ("Site A", "Site B", "Site D")
    assert [entry.estimate for entry in after.entries] == [entry.estimate for entry in before.entries]
    hidden = [entry.worst.site for entry in after.entries if entry.worst is not None]
    assert UNNAMED in hidden
    assert "Site C" not in hidden


def test_a_hospital_decides_itself_how_it_is_shown(filled: Federation) -> None:
    """Its data steward names it; nobody of another organisation can, and the choice is in the audit trail."""
    with filled.services.database.reading() as session:
        silo_id = session.scalar(select(Silo.id).where(Silo.name == "Harbour"))
    wish = {"publication": "named"}
    stranger = filled.person("Eve", "data-steward")
    assert stranger.post(f"/silos/{silo_id}/publication", wish).get_json()["code"] == "not-found"
    assert filled.admin.post(f"/silos/{silo_id}/publication", wish).status_code == 403
    steward = filled.person("Sam", "data-steward", organisation="Harbour Hospital")
    assert steward.post(f"/silos/{silo_id}/publication", wish).get_json() == wish
    assert "Harbour" in read_board(standing(filled).body).sites
    assert filled.audit(str(silo_id))[-1] == ("silo.publish", "pseudonym", "named")
    assert steward.post(f"/silos/{silo_id}/publication", {"publication": "loudly"}).status_code == 422


@pytest.mark.parametrize("hospitals", [1, 2])
def test_fewer_hospitals_than_the_limit_publish_no_number(federation: Federation, hospitals: int) -> None:
    """With one or two sites a mean would be theirs; models are listed by name and nothing more."""
    showcase.fill(federation, hospitals=hospitals)
    found = read_board(standing(federation).body)
    assert not found.ranked
    assert {model.sites for model in found.waiting} == {hospitals}
    snapshot = json.loads(standing(federation).body)
    assert all(set(row) == {"model", "name", "baseline", "status", "reason", "sites"} for row in snapshot["rows"])
    assert snapshot["pairs"] == snapshot["sensitivity"] == []


def test_a_withdrawn_model_leaves_the_board(filled: Federation) -> None:
    """What was published keeps its snapshot."""
    before = standing(filled)
    gone = read_board(before.body).entries[-1].digest
    with filled.services.database.session() as session:
        session.get_one(Model, gone).state = "withdrawn"
    filled.refresh()
    assert gone not in {entry.digest for entry in read_board(standing(filled).body).entries}
    assert gone in {entry.digest for entry in read_board(before.body).entries}


def test_the_board_before_any_result_lists_models_without_numbers(federation: Federation) -> None:
    """The page, the JSON and the CSV exist from the first moment."""
    benchmark = federation.publish(preparation=[])
    answer = federation.anybody.get("/benchmarks/chest_phantom/leaderboard", version=benchmark.version)
    assert answer.get_json()["rows"] == []
    table = federation.anybody.get("/benchmarks/chest_phantom/leaderboard.csv")
    assert table.text.splitlines()[1:] == []


def test_the_csv_has_a_line_a_model_and_the_numbers_of_the_board(filled: Federation) -> None:
    """Spreadsheets get unrounded numbers and coded names."""
    answer = filled.anybody.get("/benchmarks/chest_phantom/leaderboard.csv")
    assert answer.mimetype == "text/csv"
    header, *lines = answer.text.splitlines()
    assert header.startswith("rank_low,rank_high,tie_group,model,name")
    found = read_board(standing(filled).body)
    assert [line.split(",")[3] for line in lines] == [entry.digest for entry in found.entries]


def test_a_name_that_looks_like_a_formula_is_text_in_the_csv() -> None:
    """A spreadsheet must not run what a researcher called a model."""
    assert ",'=1+1," in board_csv(board(entry("=1+1")))


def test_an_unknown_benchmark_version_or_snapshot_is_not_found(filled: Federation) -> None:
    """Coded, and nothing of the address is repeated."""
    assert filled.anybody.get("/benchmarks/nothing/leaderboard").get_json()["code"] == "benchmark-unknown"
    assert filled.anybody.get("/benchmarks/chest_phantom/leaderboard", version=9).status_code == 404
    assert filled.anybody.get("/snapshots/blake3:00").get_json()["code"] == "not-found"
    assert filled.anybody.get("/benchmarks/chest_phantom/leaderboard", version="x").status_code == 422


def test_a_snapshot_is_cached_for_ever_and_the_standing_board_is_revalidated(filled: Federation) -> None:
    """An unchanged board costs its reader no body."""
    digest = standing(filled).digest
    assert "immutable" in filled.anybody.get(f"/snapshots/{digest}").headers["Cache-Control"]
    first = filled.anybody.get("/benchmarks/chest_phantom/leaderboard")
    again = filled.anybody.request(
        "GET", "/benchmarks/chest_phantom/leaderboard", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (again.status_code, again.data) == (304, b"")


def test_pseudonyms_go_on_after_z() -> None:
    """The 27th hospital is Site AA; the wish to be named changes no other letter."""
    assert [pseudonym(place) for place in (1, 26, 27, 52, 703)] == [
        "Site A",
        "Site Z",
        "Site AA",
        "Site AZ",
        "Site AAA",
    ]
    sites = public_sites(
        [("silo-a", "North", "named"), ("silo-b", "South", "pseudonym"), ("silo-c", "West", "withheld")]
    )
    assert [site.label for site in sites.values()] == ["North", "Site B", "Site C"]
    assert [site.shown for site in sites.values()] == [True, True, False]
