"""A hub with its people, as a researcher's programs meet it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from federation_hub.client import Hub
from tests.conftest import HubProcess, start_hub, stop_hub
from tests.sites import TOY


@dataclass(frozen=True)
class People:
    """A running hub with the toy benchmark, and the tokens of the people who use it."""

    process: HubProcess
    owner_token: str
    researcher_token: str

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def researcher(self) -> Hub:
        return Hub(self.url, self.researcher_token)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    """A hub that takes uploads in small chunks, so that tests can interrupt one between two of them."""
    home = tmp_path_factory.mktemp("client-hub") / "home"
    home.mkdir()
    (home / "hub.toml").write_text("chunk_bytes = 1048576\ndevice_poll_seconds = 1\n")
    process = start_hub(home)
    try:
        tokens = [
            json.loads(process.command("person", "add", name, "--role", role, "--organisation", place, "--json"))[
                "token"
            ]
            for name, role, place in (("Owner", "benchmark-owner", "Board"), ("Ada", "researcher", "University"))
        ]
        Hub(process.url, tokens[0]).publish_benchmark(TOY)
        yield People(process, *tokens)
    finally:
        stop_hub(process)


@pytest.fixture
def token_file(people: People, tmp_path: Path) -> Path:
    """The researcher's token in a file of its own."""
    path = tmp_path / "token"
    path.write_text(people.researcher_token + "\n")
    path.chmod(0o600)
    return path
