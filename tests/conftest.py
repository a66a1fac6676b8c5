"""Fixtures every test may use: the hub as a real process, its application in this one, a full one, and a browser.

A fixture that several folders use is here and nowhere imported: an imported one would be made once more.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser

from federation_hub.accounts.service import ensure_admin
from federation_hub.app import build_services, create_app
from federation_hub.config import HubConfig
from federation_hub.db import Database
from federation_hub.logging import configure_logging
from federation_hub.migrations.runner import migrate
from federation_hub.services import EXTENSION, Services
from tests.browser.chromium import CHROMIUM, chromium
from tests.hub.federation import Caller, Federation, hub_at
from tests.hub.showcase import fill

_START_SECONDS = 60
configure_logging(as_json=True, verbose=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest first, so that no processor waits at the end for a whole federation that began last.

    Of several tests with one name, processes that share the work run one and say nothing of the others.
    """
    names = Counter(item.nodeid for item in items)
    if names.total() > len(names):
        raise pytest.UsageError(f"several tests have one name: {names.most_common(1)}")
    items.sort(key=lambda item: ("end_to_end" not in item.path.parts, item.get_closest_marker("slow") is None))


@dataclass(frozen=True)
class HubProcess:
    """A running ``federation-hub up``: its address, its home folder, its admin's token and its process."""

    url: str
    home: Path
    admin_token: str
    process: subprocess.Popen[bytes]

    def command(self, *arguments: str) -> str:
        """Run ``federation-hub`` on the same home folder and return what it printed."""
        called = [sys.executable, "-m", "federation_hub.cli", "--home", str(self.home), *arguments]
        return subprocess.run(called, check=True, capture_output=True, text=True, timeout=60).stdout


def start_hub(home: Path, *arguments: str) -> HubProcess:
    """Start ``federation-hub up`` on a free port and return once it listens; its log is ``hub.log`` beside its home."""
    ready = home.parent / f"{home.name}.ready"
    ready.unlink(missing_ok=True)
    called = [sys.executable, "-m", "federation_hub.cli", "--home", str(home)]
    called += ["up", "--port", "0", "--ready-file", str(ready), *arguments]
    with (home.parent / f"{home.name}.log").open("ab") as log:
        process = subprocess.Popen(called, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + _START_SECONDS
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError(f"the hub did not start: {Path(log.name).read_text()}")
        time.sleep(0.02)
    url = json.loads(ready.read_text())["url"]
    return HubProcess(url, home, (home / "admin-token").read_text().strip(), process)


def stop_hub(hub: HubProcess) -> int:
    """Ask the hub to end, by its own process id, and return its exit status."""
    hub.process.terminate()
    try:
        return hub.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        hub.process.kill()
        raise


@contextmanager
def hub_process(folder: Path, settings: str) -> Iterator[HubProcess]:
    """Run a hub as its operator does inside the block, with these lines in its ``hub.toml``."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    (home / "hub.toml").write_text(settings)
    running = start_hub(home)
    try:
        yield running
    finally:
        stop_hub(running)


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """The hub as its operator runs it, shared by all tests of the session."""
    with hub_process(tmp_path_factory.mktemp("hub"), "model_tiers = [1, 2, 3]\npoll_idle_seconds = 0.5\n") as running:
        yield running


@pytest.fixture(scope="session")
def migrated_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a migrated database and an admin, to be copied and never written."""
    config = HubConfig(home=tmp_path_factory.mktemp("migrated"))
    database = Database(config.database)
    migrate(database)
    ensure_admin(config, database)
    database.close()
    return config.home


@pytest.fixture
def hub_config(migrated_home: Path, tmp_path: Path) -> HubConfig:
    """Settings of a fresh hub in a folder of its own."""
    home = tmp_path / "hub"
    shutil.copytree(migrated_home, home)
    return HubConfig(home=home, lease_seconds=30)


@pytest.fixture
def hub_services(hub_config: HubConfig) -> Iterator[Services]:
    """The services of a fresh hub, without an engine."""
    services = build_services(hub_config)
    yield services
    services.database.close()


@pytest.fixture
def app(hub_config: HubConfig, hub_services: Services) -> Flask:
    """The hub's application in this process."""
    application = create_app(hub_config, services=hub_services)
    assert application.extensions[EXTENSION] is hub_services
    return application


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client without a token of the application in this process."""
    return app.test_client()


@pytest.fixture
def admin_token(hub_config: HubConfig) -> str:
    """The token of the hub's first admin."""
    return hub_config.admin_token_path.read_text().strip()


@pytest.fixture
def federation(app: Flask, admin_token: str) -> Federation:
    """A fresh hub with its admin, driven through its routes; silos and people are added as a test needs them."""
    return Federation(app, Caller(app.test_client(), admin_token))


@pytest.fixture(scope="session")
def showcase_home(migrated_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of a hub with a full board and a study, to be copied and never written."""
    home = tmp_path_factory.mktemp("showcase") / "hub"
    shutil.copytree(migrated_home, home)
    for federation in hub_at(home):
        fill(federation)
    return home


@pytest.fixture
def filled(showcase_home: Path, tmp_path: Path) -> Iterator[Federation]:
    """A hub of the test's own with a full board and a study."""
    home = tmp_path / "filled"
    shutil.copytree(showcase_home, home)
    yield from hub_at(home)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; tests are skipped where there is none, but never in CI."""
    if not CHROMIUM.exists():
        assert os.environ.get("CI") != "true", "CI must have chromium"
        pytest.skip("needs chromium: apt-get install chromium")
    with chromium() as running:
        yield running
