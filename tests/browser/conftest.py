"""A filled hub behind a server, to be read with a browser."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.serving import PublicSite, serving


@pytest.fixture(scope="session")
def site(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    """The showcase hub behind a server."""
    home = tmp_path_factory.mktemp("browser") / "hub"
    shutil.copytree(showcase_home, home)
    with serving(home) as public:
        yield public
