"""A furnished site: one that all tests of a file read, and one of a test's own."""

from pathlib import Path

import pytest

from silo_node.state import Home
from tests.silo.furnished import furnish
from tests.silo.stand_in import StandIn


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, StandIn]:
    """A site that tests may read; those that decide something take an item of their own."""
    return furnish(tmp_path_factory.mktemp("site"))


@pytest.fixture
def home(furnished: tuple[Home, StandIn]) -> Home:
    return furnished[0]


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Home, StandIn]:
    return furnish(tmp_path)
