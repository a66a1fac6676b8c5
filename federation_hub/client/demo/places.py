"""Where the demonstration's parties keep their things: one folder each, as if on machines of their own."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import BadInput


@dataclass(frozen=True)
class Places:
    """The demonstration's folder and what lies in it."""

    root: Path

    @property
    def hub(self) -> Path:
        return self.root / "hub"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def materials(self) -> Path:
        """What the hospitals and the researcher had before: images with names in them, and trained models."""
        return self.root / "materials"

    @property
    def ready_file(self) -> Path:
        return self.root / "hub-ready.json"

    def silo(self, number: int) -> Path:
        """Return the state folder of one silo's node."""
        return self.root / f"silo-{number}"


def make_places(root: Path | None) -> Places:
    """Make an empty folder for a demonstration, by default a fresh temporary one.

    Raises ``BadInput`` where the folder given is not empty: an older demonstration is never mixed with this one.
    """
    if root is None:
        return Places(Path(tempfile.mkdtemp(prefix="medsilo-demo-")))
    if root.exists() and any(root.iterdir()):
        raise BadInput("already-exists", f"{root} is not empty; give --home an empty folder")
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Places(root.resolve())


def write_hub_settings(home: Path) -> None:
    """Write the settings of a hub for a demonstration: it asks silos to poll often."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "hub.toml").write_text('name = "MedSilo demonstration"\npoll_idle_seconds = 0.5\n')


def write_silo_settings(home: Path, *, definition: BenchmarkDefinition, study: str) -> None:
    """Write what a hospital's IT and its data steward would: the node's settings, and the policy it obeys.

    The policy lets registrations, results and updates leave by themselves; a real one may hold each for a person. Its
    smallest cohort is the benchmark's own limit: simulated sites are as small as the public data they are made from.
    """
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "silo.toml").write_text(f"provenance = {json.dumps(definition.provenance)}\nthreads = 1\n")
    (home / "policy.toml").write_text(
        f"""\
minimum_cohort = {definition.disclosure.minimum_class}
publication = "named"

[benchmarks]
allow = []

[studies]
allow = [{json.dumps(study)}]
others = "refuse"

[release]
registrations = "auto"
results = "auto"
updates = "auto"
"""
    )
