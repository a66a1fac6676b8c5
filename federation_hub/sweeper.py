"""What has to happen although nobody asks: leases run out, uploads end unfinished, boards were left out of date."""

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread

import structlog
from sqlalchemy import select

from federation_hub import idempotency
from federation_hub.accounts import devices, identities, sessions
from federation_hub.accounts.sessions import Lifetime
from federation_hub.db import now
from federation_hub.entries.service import lift_embargoes
from federation_hub.evaluations.leases import expire
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.upkeep import catch_up
from federation_hub.services import Services
from federation_hub.silos.keys import forget_nonces
from federation_hub.storage.tables import Upload

_ABANDONED = timedelta(days=3)
_log = structlog.get_logger("federation_hub")


class Sweeper:
    """A thread that sweeps every few seconds until it is stopped."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping = Event()
        self._thread = Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin sweeping."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present sweep."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause = min(max(self._services.config.lease_seconds / 4, 0.5), 15)
        self._try(catch_up)
        while not self._stopping.wait(pause):
            self._try(sweep)

    def _try(self, work: Callable[[Services], None]) -> None:
        try:
            work(self._services)
        except Exception:
            # A database that is locked or away now is swept next time.
            _log.warning("sweep-failed", exc_info=True)


def sweep(services: Services) -> None:
    """Offer lapsed tasks again, wake the studies concerned, throw away old uploads, and compute boards left behind."""
    services.seen.write(services.database)
    with services.database.session() as session:
        forget_nonces(session, now())
        sessions.forget_old(session, Lifetime.of(services.config), now())
        devices.forget_old(session, now())
        identities.forget_old(session, now())
        outdate(session, lift_embargoes(session, now()))
        idempotency.forget_old(session, now())
        lapsed = {task.study_id for task in expire(session, services, now())}
        old = session.scalars(
            select(Upload).where(Upload.state == "receiving", Upload.created < now() - _ABANDONED)
        ).all()
        for upload in old:
            path = services.partials.path(upload.id)
            if not path.exists() or time.time() - path.stat().st_mtime > _ABANDONED.total_seconds():
                services.partials.discard(upload.id)
                upload.state, upload.finished = "failed", now()
    for study_id in lapsed - {None}:
        if services.engine is not None and study_id is not None:
            services.engine.notify(study_id)
    catch_up(services)
