"""A hub with a full board, filled once a session and copied for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from federation_hub.app import build_services, create_app
from federation_hub.config import HubConfig
from tests.hub.federation import Caller, Federation
from tests.hub.showcase import fill


def hub_at(home: Path) -> Iterator[Federation]:
    """Yield the hub whose state is in a folder."""
    config = HubConfig(home=home, lease_seconds=30)
    services = build_services(config)
    app = create_app(config, services=services)
    yield Federation(app, Caller(app.test_client(), config.admin_token_path.read_text().strip()))
    services.database.close()


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
