"""Where a node keeps what it holds: one folder, one concept a file, private things readable by their owner alone.

::

    silo.toml  policy.toml                     written by people
    identity/  key.pem  token  enrolment.json  who the site is (0700, files 0600)
    private/   site.key  raw/<case>/           keyed-hash key and de-identified raw cases (0700)
               objects/  objects.sqlite        DICOM objects as they came, and their index by the source's own ids
               places.sqlite                   where what was refused lies
               console-labels.csv              a table of labels given in the console, while its cohort is built
               residuals/<study>/              what the rounding of updates lost, to be sent with the next
               masking/                        secrets of masked rounds, and updates that wait for their masks
    catalogue.sqlite  journal.sqlite           cases and cohorts; tasks and the outbox
    cohorts/<id>/  benchmarks/  bundles/       frozen cohorts; definitions and models fetched from the hub
    neighbours/<study>/                        sealing key and own models of studies without an aggregator (0700)
    scores/  reports/                          per-case scores; pages for the site's own people; neither leaves
    studies/<id>/                              personal models and control variates; they do not leave either
    quarantine/  outbox/  scratch/             files refused at intake; updates waiting to leave; work in progress
    logs/egress.jsonl                          every byte that left, as a hash chain
    console/  health.json  doctor.json         who may sign in to the console; what node and doctor last said
"""

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

ENVIRONMENT = "SILO_HOME"


@dataclass(frozen=True)
class Home:
    """A node's state folder. Every path the node writes to is a property here."""

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "silo.toml"

    @property
    def policy_file(self) -> Path:
        return self.path / "policy.toml"

    @property
    def identity(self) -> Path:
        return self.path / "identity"

    @property
    def key_file(self) -> Path:
        return self.identity / "key.pem"

    @property
    def next_key_file(self) -> Path:
        """A new key while it is not known whether the hub has heard of it."""
        return self.identity / "next.pem"

    @property
    def token_file(self) -> Path:
        return self.identity / "token"

    @property
    def enrolment_file(self) -> Path:
        return self.identity / "enrolment.json"

    @property
    def private(self) -> Path:
        return self.path / "private"

    @property
    def site_key_file(self) -> Path:
        return self.private / "site.key"

    @property
    def masking(self) -> Path:
        """Masked rounds that go on: their secrets, and updates that wait for their masks."""
        return self.private / "masking"

    @property
    def residuals(self) -> Path:
        """What the rounding of updates lost, by study, until it is sent."""
        return self.private / "residuals"

    @property
    def raw(self) -> Path:
        return self.private / "raw"

    @property
    def catalogue(self) -> Path:
        return self.path / "catalogue.sqlite"

    @property
    def journal(self) -> Path:
        return self.path / "journal.sqlite"

    @property
    def cohorts(self) -> Path:
        return self.path / "cohorts"

    @property
    def benchmarks(self) -> Path:
        """Benchmark definitions by digest: ``<hex>.json``."""
        return self.path / "benchmarks"

    @property
    def bundles(self) -> Path:
        """Models by digest: ``<hex>.zip``."""
        return self.path / "bundles"

    @property
    def neighbours(self) -> Path:
        """This site's own part in studies without an aggregator, a folder a study."""
        return self.path / "neighbours"

    @property
    def scores(self) -> Path:
        return self.path / "scores"

    @property
    def reports(self) -> Path:
        """Pages for the site's own people."""
        return self.path / "reports"

    @property
    def quarantine(self) -> Path:
        return self.path / "quarantine"

    @property
    def outbox(self) -> Path:
        return self.path / "outbox"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def egress_log(self) -> Path:
        return self.logs / "egress.jsonl"

    @property
    def console(self) -> Path:
        """Passwords and one-time links of the console, as hashes."""
        return self.path / "console"

    @property
    def console_people(self) -> Path:
        return self.console / "people.json"

    @property
    def console_build(self) -> Path:
        """The cohort that is being built from the console, or was last: what was asked, and how far it is."""
        return self.console / "build.json"

    @property
    def console_build_lock(self) -> Path:
        """Held by the process that builds."""
        return self.console / "build.lock"

    @property
    def console_labels(self) -> Path:
        """The table of labels that was given with the form. It names patients, so it is there only meanwhile."""
        return self.private / "console-labels.csv"

    @property
    def console_address(self) -> Path:
        """Where the running console listens."""
        return self.console / "address"

    @property
    def health_file(self) -> Path:
        """What the running node last said about itself."""
        return self.path / "health.json"

    @property
    def doctor_report(self) -> Path:
        """What the doctor found when it looked last."""
        return self.path / "doctor.json"

    @property
    def studies(self) -> Path:
        """What this site keeps of its own in a study: personal models, control variates. It never leaves."""
        return self.path / "studies"

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    def cohort(self, cohort_id: str) -> Path:
        """Return one cohort's folder."""
        return self.cohorts / cohort_id

    def create(self) -> "Home":
        """Make the folders that are missing, each readable by its owner alone; return this home."""
        for folder in (
            self.path,
            self.identity,
            self.private,
            self.raw,
            self.cohorts,
            self.benchmarks,
            self.bundles,
            self.scores,
            self.reports,
            self.quarantine,
            self.outbox,
            self.logs,
            self.scratch,
            self.studies,
        ):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self


def default_home() -> Home:
    """Return the folder named by ``SILO_HOME``, else the platform's own place for a user's data."""
    chosen = os.environ.get(ENVIRONMENT)
    return Home(Path(chosen).expanduser() if chosen else user_data_path("silo-node"))


def write_private(path: Path, data: bytes) -> None:
    """Write a file only its owner may read (0600), so that a reader sees the old content or all of the new.

    The content is on disk before the name is: a power cut leaves one of the two, never half a key.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
