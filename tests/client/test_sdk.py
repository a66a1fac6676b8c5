"""The SDK against a hub in a process of its own."""

import json
from pathlib import Path

import numpy as np
import pytest

from federation_hub.client import Hub
from federation_hub.client.connection import checked_url
from silo_node.wire.errors import BadInput, ConfigError, HubUnavailable, WireError
from silo_node.wire.models import ModelCard
from tests.client.conftest import People
from tests.silo.peer import Exchange, peer
from tests.sites import TOY, write_bundle


def test_what_is_public_needs_no_token(people: People) -> None:
    hub = Hub(people.url)
    assert "toy" in [entry["name"] for entry in hub.benchmarks()]
    assert hub.definition("toy") == TOY
    assert hub.leaderboard("toy")["metric"]["name"] == "auroc"


def test_what_is_not_public_is_refused_with_its_code(people: People) -> None:
    with pytest.raises(WireError) as caught:
        Hub(people.url).models()
    assert caught.value.code == "not-authenticated"
    with pytest.raises(WireError) as caught:
        people.researcher.invite_silo("A", "B")
    assert caught.value.code == "not-permitted"


def test_a_password_in_netrc_never_takes_the_tokens_place(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert people.researcher.me()["name"] == "Ada"


def test_an_interrupted_upload_goes_on_where_it_stopped(people: People, tmp_path: Path) -> None:
    """The second try sends only what the hub lacks, and the model is the same."""
    weights = np.random.default_rng(1).random((2, 1_000_000), dtype=np.float32)
    bundle = write_bundle(tmp_path, {"fc.weight": weights}, channels=(512, 512, 512))

    class Interrupted(Exception):
        pass

    def interrupt(done: int, total: int) -> None:
        if done > total // 3:
            raise Interrupted

    seen: list[int] = []
    with pytest.raises(Interrupted):
        people.researcher.submit_model(bundle, ModelCard(name="big"), "toy", progress=interrupt)
    people.researcher.submit_model(bundle, ModelCard(name="big"), "toy", progress=lambda done, _: seen.append(done))
    assert seen[0] > bundle.stat().st_size // 3
    assert seen[-1] == bundle.stat().st_size


def test_a_model_is_submitted_seen_and_withdrawn(people: People, tmp_path: Path) -> None:
    hub = people.researcher
    record = hub.submit_model(
        write_bundle(tmp_path, {"fc.weight": np.ones((2, 64), np.float32)}), ModelCard(name="small"), "toy"
    )
    assert record["state"] == "accepted"
    assert record["digest"] in [model["digest"] for model in hub.models("toy")]
    assert hub.withdraw_model(record["digest"])["state"] == "withdrawn"


def test_a_file_that_is_not_there_is_told_before_anything_is_sent(people: People, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        people.researcher.submit_model(tmp_path / "no.zip", ModelCard(name="none"), "toy")
    assert caught.value.code == "file-missing"


def test_the_leaderboard_is_a_table(people: People, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, {"fc.weight": np.full((2, 64), 2, np.float32)})
    people.researcher.submit_model(bundle, ModelCard(name="waiting"), "toy")
    frame = people.researcher.leaderboard_frame("toy")
    assert "waiting" in set(frame["model"])
    assert set(frame["status"]) == {"awaiting"}
    assert {"rank", "estimate", "low", "high", "worst_site", "sites", "cases"} <= set(frame.columns)


def test_no_hub_is_unavailable_and_not_refused(tmp_path: Path) -> None:
    with pytest.raises(HubUnavailable) as caught:
        Hub("http://127.0.0.1:9").information()
    assert caught.value.code == "hub-unreachable"


@pytest.mark.parametrize("url", ["hub.example.org", "ftp://hub.example.org", "https://", "https://hub.example.org?x=1"])
def test_an_address_must_be_one(url: str) -> None:
    with pytest.raises(ConfigError):
        checked_url(url, secret=False)


def test_a_token_travels_unencrypted_to_this_machine_only() -> None:
    with pytest.raises(ConfigError, match="https"):
        Hub("http://hub.example.org", "msp_x")
    assert Hub("http://localhost:1234/", "msp_x").url == "http://localhost:1234"


LISTS = ("benchmarks", "models", "evaluations", "associations", "silos", "studies", "tokens")


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_asked_for_to_its_end(name: str) -> None:
    """Nobody silently sees the first page only; a filter goes with each page."""

    def answer(exchange: Exchange) -> None:
        second = "cursor=more%2F1" in exchange.path
        exchange.say(json.dumps({name: [{"page": 1 + second}], "next": None if second else "more/1"}).encode())

    with peer(answer) as server:
        hub = Hub(server.url, "msp_" + "t" * 40)
        assert getattr(hub, name)() == [{"page": 1}, {"page": 2}]
        if name in ("models", "evaluations"):
            assert len(getattr(hub, name)("toy")) == 2
            assert all("benchmark=toy" in one.path for one in server.received[2:])
