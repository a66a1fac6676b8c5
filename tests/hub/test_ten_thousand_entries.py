"""A board of ten thousand entries at a few hospitals: every page answers, is no heavier and asks no more often."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from html import unescape
from pathlib import Path

import pytest
import requests
from sqlalchemy import event

from federation_hub.config import HubConfig
from silo_node.wire.versions import CURRENT, HEADER
from tests.hub.crowd import crowd
from tests.hub.running import RunningHub, running_hub

RANKED, ENTRIES = 1000, 10_000
HEAVIEST = 150_000
BOARD = "/benchmarks/chest_phantom"
API = "/api/v1/benchmarks/chest_phantom"
MODEL = f"/models/blake3:{RANKED - 1:064x}"
PAGES = (
    BOARD,
    f"{BOARD}?sort=worst&order=asc&page=50",
    f"{BOARD}?kind=submitted&columns=plot,new,top3,gap,i2,rules,failed,auprc&page=7",
    f"{BOARD}?q=entry+999",
    f"{BOARD}?page=999999&sort=%00&kind=%3Cb%3E",
    f"{BOARD}/figures",
    f"{BOARD}/compare",
    f"{BOARD}/compare?q=entry+19",
    f"{BOARD}/sites",
    f"{BOARD}/sites?page=400",
    f"{BOARD}/1",
    MODEL,
    f"/models/blake3:{10**9:064x}",
    "/",
    "/status",
    "/feed.atom",
)
NEW = (MODEL, f"/models/blake3:{10**9:064x}", f"{BOARD}/sites?page=400")
"""What there is only with so many entries."""


@dataclass(frozen=True)
class Large:
    """A hub with ten thousand entries, and how many queries its pages made when it had five."""

    hub: RunningHub
    queries_before: dict[str, int]


def get(hub: RunningHub, path: str, *, token: str | None = None) -> requests.Response:
    """Ask for an address and expect it."""
    headers = {HEADER: str(CURRENT)} | ({"Authorization": f"Bearer {token}"} if token else {})
    answer = requests.get(hub.url + path, headers=headers, timeout=60)
    assert answer.status_code == 200, (path, answer.text[:500])
    return answer


def queries(hub: RunningHub, path: str) -> int:
    """Return how many statements a second request for a page makes."""
    seen: list[object] = []

    def note(*arguments: object) -> None:
        seen.append(arguments[2])

    get(hub, path)
    event.listen(hub.services.database.engine, "before_cursor_execute", note)
    try:
        get(hub, path)
    finally:
        event.remove(hub.services.database.engine, "before_cursor_execute", note)
    return len(seen)


@pytest.fixture(scope="module")
def large(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Large]:
    """A hub with that board, over real HTTP."""
    home = tmp_path_factory.mktemp("large") / "hub"
    shutil.copytree(showcase_home, home)
    with running_hub(HubConfig(home=home, anonymous_requests_per_minute=100_000), engine=False) as running:
        before = {path: queries(running, path) for path in PAGES if path not in NEW}
        crowd(running.services, ranked=RANKED, waiting=ENTRIES - RANKED)
        yield Large(running, before)


def test_no_page_asks_the_database_more_often(large: Large) -> None:
    """With five entries and with ten thousand."""
    assert {path: queries(large.hub, path) for path in large.queries_before} == large.queries_before


def test_every_page_answers_and_none_is_too_heavy(large: Large) -> None:
    """Whatever is sorted, filtered, compared or made up; the data have every entry."""
    hub = large.hub
    sizes = {path: len(get(hub, path).content) for path in PAGES}
    assert {path: size for path, size in sizes.items() if size > HEAVIEST} == {}
    snapshot = get(hub, f"{API}/leaderboard").json()
    assert len(snapshot["rows"]) == snapshot["models"] == ENTRIES
    assert len(get(hub, f"{API}/leaderboard.csv").text.splitlines()) == RANKED + 1
    text = get(hub, BOARD).text
    assert "1,000 models" in text
    assert "And 8,950 more models; the JSON has all." in text
    assert f"Page 1 of {RANKED // 20}" in text
    assert "entry 999" in get(hub, f"{BOARD}?q=entry+999").text
    assert " of 1000; " in get(hub, MODEL).text
    assert "100 of 1,000 models" in get(hub, f"{BOARD}/compare").text
    found = get(hub, f"{BOARD}/compare?q=entry+999").text
    assert unescape(found).count(f'<option value="blake3:{RANKED - 1:064x}"') == 2


def test_the_matrix_comes_in_pages(large: Large) -> None:
    """No model twice, also where thousands came at one moment."""
    admin = (large.hub.services.config.home / "admin-token").read_text().strip()
    seen: list[str] = []
    cursor = ""
    for _ in range(3):
        page = get(large.hub, f"{API}/1/matrix?limit=100{cursor}", token=admin).json()
        seen += [row["model"] for row in page["models"]]
        cursor = f"&cursor={page['next']}"
    assert len(set(seen)) == len(seen) == 300
