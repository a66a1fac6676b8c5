"""A node that is asked to wait waits that long, comes back at a moment of its own, and says so."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from random import Random

import pytest

from federation_hub.config import HubConfig
from silo_node.agent.health import read_health
from silo_node.agent.loop import Agent
from silo_node.agent.node import pause_after, persist
from silo_node.config import NodeConfig
from silo_node.journal import Journal
from silo_node.transport import LONGEST_WAIT_SECONDS, Transport
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.errors import PROBLEMS, HubUnavailable, MedSiloError, ProblemDocument
from silo_node.wire.tasks import ClaimRequest
from tests.hub.running import running_hub
from tests.silo.peer import Exchange, peer
from tests.silo.stand_in import StandIn, enrolled, home_at, node_at
from tests.sites import TOY, Site

QUESTION = ClaimRequest(kinds=("evaluation",))


def asked_by(answer: Callable[[Exchange], None]) -> MedSiloError:
    """Return the error a request ends with."""
    with peer(answer) as server:
        transport = Transport(server.url, NodeConfig())
        with pytest.raises(MedSiloError) as caught:
            transport.request("GET", "/hub")
        transport.close()
    return caught.value


def problem(code: str, **headers: str) -> Callable[[Exchange], None]:
    known = PROBLEMS[code]
    document = ProblemDocument(type="about:blank", title=known.title, status=known.status, code=code, hint=known.hint)
    return lambda exchange: exchange.say(document, known.status, "application/problem+json", **headers)


def test_the_wait_is_read_as_seconds_or_as_a_date_and_only_where_it_means_something() -> None:
    """A proxy's 503 counts as well; nonsense is no wait, and nobody silences a node for days."""
    for asked, seconds in (("7", 7.0), ("0", 0.0), ("soon", 0.0), ("-5", 0.0), ("9" * 30, 0.0), ("99999999", 3600.0)):
        error = asked_by(problem("rate-limited", Retry_After=asked))
        assert isinstance(error, HubUnavailable)
        assert (error.code, error.retry_after) == ("rate-limited", seconds)
    assert LONGEST_WAIT_SECONDS == 3600
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    error = asked_by(lambda exchange: exchange.say(b"<h1>busy</h1>", 503, "text/html", Retry_After=later))
    assert isinstance(error, HubUnavailable)
    assert 30 < error.retry_after <= 60
    refused = asked_by(problem("not-permitted", Retry_After="7"))
    assert not isinstance(refused, HubUnavailable)


def test_the_wait_is_never_shortened_and_lengthened_at_random() -> None:
    """Those the hub sent away in one second do not all come back in another."""
    error = HubUnavailable("rate-limited", retry_after=8)
    found = [pause_after(error, 0.5, Random(seed)) for seed in range(20)]
    assert all(8 <= pause <= 10 for pause in found)
    assert len(set(found)) == 20
    assert pause_after(error, 60, Random(1)) == 60
    assert pause_after(HubUnavailable("hub-unreachable"), 0.5, Random(1)) == 0.5


def test_work_in_progress_outlives_the_hubs_own_rate_limit(hub_config: HubConfig, tmp_path: Path) -> None:
    """A real hub says 429; one refused try, one wait, and the answer."""
    strict = hub_config.model_copy(update={"requests_per_minute": 60})
    with running_hub(strict, engine=False) as hub:
        hub.admin.do("POST", "/benchmarks", canonical_bytes(TOY))
        site = Site.join(tmp_path / "silo", hub.url, hub.admin, "Fir")
        connection = site.dial()
        waits: list[float] = []
        begun = 0.0

        def ask() -> object:
            try:
                return connection.claim(QUESTION)
            except HubUnavailable as error:
                waits.append(error.retry_after)
                raise

        for _ in range(200):
            begun = time.monotonic()
            persist(ask, lambda: False, 0.05)
            if waits:
                break
        connection.close()
    assert len(waits) == 1
    assert waits[0] >= 1
    assert time.monotonic() - begun >= waits[0]


def test_the_loop_leaves_the_hub_alone_although_something_waits_to_leave(tmp_path: Path) -> None:
    """A release in another process wakes a waiting node, but not before the time the hub has asked for."""
    home, claims, answered = home_at(tmp_path), [], threading.Event()
    ordinary = StandIn()
    enrolled(home, ordinary)

    def answer(exchange: Exchange) -> None:
        if exchange.path.endswith("/tasks/claim"):
            claims.append(time.monotonic())
            if len(claims) == 1:
                problem("rate-limited", Retry_After="2")(exchange)
                return
            answered.set()
        ordinary(exchange)

    with peer(answer) as server:
        agent = Agent(node_at(home, server.url))
        thread = threading.Thread(target=agent.run, daemon=True)
        thread.start()
        journal, states = Journal(home), set()
        while not answered.wait(0.1):
            with journal.writing() as connection:
                connection.execute("INSERT OR REPLACE INTO hold VALUES ('x', ?)", (len(claims),))
            found = read_health(home)
            states.add((found.state, found.code) if found else None)
        journal.close()
        agent.stop()
        thread.join(60)
    assert claims[1] - claims[0] >= 2
    assert ("asked-to-wait", "rate-limited") in states
