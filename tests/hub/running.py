"""A hub inside the test's own process, over real HTTP: web, API and the engine of studies."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Thread

import numpy as np
from sqlalchemy import select
from werkzeug.serving import make_server

from federation_hub.accounts.service import add_person
from federation_hub.app import build_services, create_app
from federation_hub.config import HubConfig
from federation_hub.db import now
from federation_hub.engine.engine import Engine
from federation_hub.services import Services
from federation_hub.studies.tables import StudyRound
from silo_node.hub import Hub
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyPlan
from tests.sites import TOY, Arrays, Person, Site, toy_plan, write_bundle

START: Arrays = {
    "conv.weight": np.linspace(-1, 1, 60, dtype=np.float32).reshape(3, 4, 5),
    "conv.bias": np.zeros(7, np.float32),
    "scale": np.array(0.5, np.float32),
}


@dataclass
class RunningHub:
    """An address, the services behind it, and an admin who also owns the toy benchmark."""

    url: str
    services: Services
    admin: Person


@contextmanager
def running_hub(config: HubConfig, *, engine: bool = True) -> Iterator[RunningHub]:
    """Serve a hub whose home is migrated, on a free port, until the block ends."""
    services = build_services(config)
    studies = Engine(config)
    if engine:
        services = replace(services, engine=studies)
        studies.launch(services)
    server = make_server("127.0.0.1", 0, create_app(config, services=services), threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.port}"
    try:
        yield RunningHub(url, services, Person(url, config.admin_token_path.read_text().strip()))
    finally:
        if engine:
            studies.shutdown()
        server.shutdown()
        thread.join()
        server.server_close()
        services.database.close()


class Federation:
    """A hub, a researcher with an accepted model, and three sites with 10, 20 and 30 training cases."""

    def __init__(self, hub: RunningHub, folder: Path, sites: int = 3, start: Arrays = START) -> None:
        self.hub = hub
        self.folder = folder
        hub.admin.do("POST", "/benchmarks", TOY.model_dump_json())
        with hub.services.database.session() as session:
            token = add_person(session, name="Ada", organisation="University", roles=["researcher"])
        self.researcher = Person(hub.url, token)
        self.model: ModelReference = self.researcher.submit(write_bundle(folder, start))
        self.sites = [
            Site.join(folder / f"site{number}", hub.url, hub.admin, f"Site {number}", 10 * (number + 1))
            for number in range(sites)
        ]
        self.doors: list[Hub] = [site.dial() for site in self.sites]

    def create(self, plan: StudyPlan | None = None, **changes: object) -> str:
        """Create a study, by default over all sites, and return its id."""
        plan = plan or toy_plan(self.model, self.sites, **changes)
        return str(self.researcher.do("POST", "/studies", plan.model_dump_json())["study_id"])

    def agree(self) -> None:
        """Let every site say yes to what it is asked."""
        for site, door in zip(self.sites, self.doors, strict=True):
            site.consent(door)

    def start(self, study_id: str) -> None:
        self.researcher.do("POST", f"/studies/{study_id}/start")

    def running(self, **changes: object) -> str:
        """Create a study that every site agrees to, and start it."""
        study_id = self.create(**changes)
        self.agree()
        self.start(study_id)
        return study_id

    def pass_deadline(self, study_id: str) -> None:
        """Let the open round's deadline pass, and the rest before a retry with it: until a round opens or all ends."""
        database, engine = self.hub.services.database, self.hub.services.engine
        assert engine is not None
        before = self._last_round(study_id)
        with database.session() as session:
            session.get_one(StudyRound, (study_id, *before)).deadline = now()
        end = time.monotonic() + 60
        while self._last_round(study_id) == before and self.researcher.study(study_id)["state"] == "running":
            assert time.monotonic() < end, "the round did not end at its deadline"
            engine.notify(study_id)
            time.sleep(0.02)

    def _last_round(self, study_id: str) -> tuple[int, int]:
        with self.hub.services.database.reading() as session:
            rows = select(StudyRound).where(StudyRound.study_id == study_id)
            last = session.scalars(rows.order_by(StudyRound.number.desc(), StudyRound.attempt.desc())).first()
        assert last is not None
        return last.number, last.attempt

    def decide(self, association_id: str, *, approve: bool) -> int:
        """Try to decide a consent as the researcher; return the HTTP status."""
        body = canonical_bytes({"approve": approve, "reason": None})
        return self.researcher.ask("POST", f"/associations/{association_id}/decision", body).status_code

    def weights(self, digest: str) -> Path:
        """Return where a global model lies."""
        return self.hub.services.blobs.path(digest)

    def close(self) -> None:
        for door in self.doors:
            door.close()
