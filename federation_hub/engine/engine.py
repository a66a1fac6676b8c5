"""The durable engine of one process: launch, recover what was interrupted, start studies, wake them, shut down.

DBOS keeps a checkpoint after each step of a study in its own database. What a study *is* (its rounds, updates and
models) lives in the hub's database; steps are idempotent against it, so a step that was cut off between the two
simply runs again.
"""

import sqlite3
from importlib import import_module
from threading import Event, Thread

import structlog
from dbos import DBOS, DBOSConfig, SetWorkflowID
from sqlalchemy import select

from federation_hub.config import HubConfig
from federation_hub.engine.wakeups import Wakeups
from federation_hub.services import Services
from federation_hub.studies.tables import Study

_SWEEP_SECONDS = 2.0
# Checkpoints belong to the study's program, not to a release: a new release recovers what an older one began.
_PROGRAM_VERSION = "studies-1"
_log = structlog.get_logger("federation_hub.engine")
_services: Services | None = None
_wakeups = Wakeups()


def engine_services() -> Services:
    """Return the services of this process's engine, for the steps of a workflow."""
    if _services is None:
        raise RuntimeError("the engine has not been launched in this process")
    return _services


def wakeups() -> Wakeups:
    """Return the wake-ups of this process's engine."""
    return _wakeups


class Engine:
    """The one durable engine of a process. ``executor`` names the worker; each worker of a federation has its own."""

    def __init__(self, config: HubConfig, *, executor: str = "hub") -> None:
        self._config = config
        self._executor = executor
        self._stopping = Event()
        self._sweeper: Thread | None = None

    def launch(self, services: Services) -> None:
        """Start running studies, and go on with those that were interrupted."""
        global _services, _wakeups
        _services, _wakeups = services, Wakeups()
        # Recovery looks workflows up by name, so they are registered first. Here, because they import this module.
        import_module("federation_hub.studies.workflow")
        DBOS(config=self._settings())
        DBOS.launch()
        self._sweeper = Thread(target=self._sweep, name="study-sweeper", daemon=True)
        self._sweeper.start()

    def start_study(self, study_id: str) -> None:
        """Start a study's workflow; nothing happens where it was started before, here or elsewhere."""
        from federation_hub.studies.workflow import run_study

        with SetWorkflowID(study_id):
            DBOS.start_workflow(run_study, study_id)

    def notify(self, study_id: str) -> None:
        """Tell a study that something in the database has changed."""
        _wakeups.notify(study_id)

    def shutdown(self) -> None:
        """Stop at once, as a kill would: the next launch goes on from the last checkpoint."""
        self._stopping.set()
        _wakeups.stop()
        if self._sweeper is not None:
            self._sweeper.join()
        DBOS.destroy()

    def _settings(self) -> DBOSConfig:
        return {
            "name": "medsilo-hub",
            "system_database_url": self._database_url(),
            "application_version": _PROGRAM_VERSION,
            "executor_id": self._executor,
            "log_level": "WARNING",
            "enable_otlp": False,
        }

    def _database_url(self) -> str:
        if not self._config.database.startswith("sqlite"):
            return self._config.database
        path = self._config.engine_path
        path.parent.mkdir(parents=True, exist_ok=True)
        # The journal mode is a lasting property of the file; DBOS would leave the slower rollback journal.
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        return f"sqlite:///{path}"

    def _sweep(self) -> None:
        """Start the studies somebody else set running: a web process, or this one just before it was killed."""
        started: set[str] = set()
        while not self._stopping.is_set():
            try:
                for study_id in self._running_studies() - started:
                    if DBOS.get_workflow_status(study_id) is None:
                        self.start_study(study_id)
                    started.add(study_id)
            except Exception:
                _log.warning("sweep-failed", exc_info=True)
            self._stopping.wait(_SWEEP_SECONDS)

    @staticmethod
    def _running_studies() -> set[str]:
        with engine_services().database.reading() as session:
            return set(session.scalars(select(Study.id).where(Study.state == "running")))
