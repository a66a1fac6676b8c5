"""A filled hub behind a server, with the address of one page of each kind."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from werkzeug.serving import make_server

from federation_hub.evaluations.tables import Evaluation
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.studies.tables import Study
from tests.hub.federation import Federation, hub_at

BOARD = "/benchmarks/chest_phantom"


@dataclass(frozen=True)
class PublicSite:
    """A hub that listens: its address, the paths of one page of each kind, and the hub itself."""

    url: str
    pages: dict[str, str]
    federation: Federation


@contextmanager
def serving(home: Path) -> Iterator[PublicSite]:
    """Serve the hub in a folder inside the block."""
    for federation in hub_at(home):
        server = make_server("127.0.0.1", 0, federation.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield PublicSite(f"http://127.0.0.1:{server.port}", pages_of(federation), federation)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def pages_of(federation: Federation) -> dict[str, str]:
    """Return a page of each kind."""
    with federation.services.database.reading() as session:
        standing = latest(session, "chest_phantom")
        old = session.scalar(select(Snapshot.digest).where(Snapshot.superseded_by.is_not(None)))
        study = session.scalars(select(Study)).one()
        evaluation = session.scalar(select(Evaluation.id).where(Evaluation.state == "answered"))
    assert standing is not None
    return {
        "home": "/",
        "board": BOARD,
        "filtered board": f"{BOARD}?sort=score&kind=submitted&columns=plot,best,worst,cases,new,brier&x=1",
        "question": f"{BOARD}/1",
        "hospitals": f"{BOARD}/sites",
        "comparison": f"{BOARD}/compare",
        "figures": f"{BOARD}/figures",
        "superseded snapshot": f"/snapshots/{old}",
        "model": f"/models/{study.final_model_digest}",
        "studies": "/studies",
        "study": f"/studies/{study.id}",
        "what protects a study": f"/studies/{study.id}/privacy",
        "evaluation": f"/evaluations/{evaluation}",
        "methods": "/methods",
        "digest": f"/verify?digest={standing.digest}",
        "no digest": "/verify?digest=nonsense",
        "status": "/status",
        "not found": "/benchmarks/nothing",
    }
