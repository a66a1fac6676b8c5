"""A filled hub behind a server, and Debian's chromium to read it with."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.serving import PublicSite, serving
from tests.hub.conftest import showcase_home

__all__ = ["showcase_home"]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="session")
def site(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    """The showcase hub behind a server."""
    home = tmp_path_factory.mktemp("browser") / "hub"
    shutil.copytree(showcase_home, home)
    with serving(home) as public:
        yield public


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium; tests are skipped where there is none, but never in CI."""
    if not CHROMIUM.exists():
        assert os.environ.get("CI") != "true", "CI must have chromium"
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield running
        running.close()
