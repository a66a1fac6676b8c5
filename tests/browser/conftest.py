"""A filled hub behind a server, and Debian's chromium to read it with."""

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from sqlalchemy import select
from werkzeug.serving import make_server

from federation_hub.evaluations.tables import Evaluation
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.studies.tables import Study
from tests.hub.conftest import hub_at, showcase_home
from tests.hub.federation import Federation

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


@dataclass(frozen=True)
class PublicSite:
    """A hub that listens: its address and the paths of one page of each kind."""

    url: str
    pages: dict[str, str]


@pytest.fixture(scope="session")
def site(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PublicSite]:
    """The showcase hub behind a server."""
    home = tmp_path_factory.mktemp("browser") / "hub"
    shutil.copytree(showcase_home, home)
    for federation in hub_at(home):
        server = make_server("127.0.0.1", 0, federation.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield PublicSite(f"http://127.0.0.1:{server.port}", _pages(federation))
        server.shutdown()
        thread.join()
        server.server_close()


def _pages(federation: Federation) -> dict[str, str]:
    with federation.services.database.reading() as session:
        standing = latest(session, "chest_phantom")
        old = session.scalar(select(Snapshot.digest).where(Snapshot.superseded_by.is_not(None)))
        study = session.scalars(select(Study)).one()
        evaluation = session.scalar(select(Evaluation.id).where(Evaluation.state == "answered"))
    assert standing is not None
    return {
        "home": "/",
        "board": "/benchmarks/chest_phantom",
        "filtered board": "/benchmarks/chest_phantom?sort=score&kind=submitted",
        "superseded snapshot": f"/snapshots/{old}",
        "model": f"/models/{study.final_model_digest}",
        "studies": "/studies",
        "study": f"/studies/{study.id}",
        "evaluation": f"/evaluations/{evaluation}",
        "methods": "/methods",
        "status": "/status",
        "not found": "/benchmarks/nothing",
    }


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
