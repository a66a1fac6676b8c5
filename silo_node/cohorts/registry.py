"""What becomes of a frozen cohort: verified, registered at the hub, retired."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from silo_node.benchmarks import known_benchmark
from silo_node.catalogue import Catalogue, CohortRow
from silo_node.cohorts.cache import wipe_unused
from silo_node.cohorts.card import cohort_registration
from silo_node.cohorts.lifecycle import CohortEvent, cohort_state, next_state
from silo_node.cohorts.manifest import Manifest, verify_folder
from silo_node.deidentify.pseudonyms import Pseudonyms, load_site_key
from silo_node.policy import load_policy
from silo_node.reports.files import drop_report
from silo_node.state import Home
from silo_node.wire.benchmarks import Provenance
from silo_node.wire.cohorts import CohortRegistration
from silo_node.wire.errors import BadInput, MedSiloError

Clock = Callable[[], datetime]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def find_cohort(home: Home, name: str) -> CohortRow:
    """Return a cohort by its id or its fingerprint; raises ``cohort-unknown``."""
    with Catalogue(home.catalogue) as catalogue:
        found = catalogue.cohort(name) or catalogue.cohort_by_fingerprint(name)
    if found is None:
        raise BadInput("cohort-unknown", "see silo-node cohort list")
    return found


def registered_cohort(home: Home, benchmark: str, version: int) -> CohortRow | None:
    """Return the cohort this node has registered for a benchmark version, or None."""
    with Catalogue(home.catalogue) as catalogue:
        rows = catalogue.cohorts()
    same = (row for row in rows if (row.benchmark, row.version, row.state) == (benchmark, version, "registered"))
    return next(same, None)


def verify_cohort(home: Home, name: str) -> Manifest:
    """Compare a cohort's files with what was frozen, and return its manifest. Done before and after each run.

    Raises ``cohort-changed``, ``cohort-not-frozen`` for a draft, ``cohort-unknown`` for one that is retired or was
    never there.
    """
    row = find_cohort(home, name)
    if row.state == "retired":
        raise BadInput("cohort-unknown", "it is retired, and its images are deleted")
    if row.fingerprint is None:
        raise MedSiloError("cohort-not-frozen", row.cohort_id)
    pseudonyms = Pseudonyms(load_site_key(home.site_key_file))
    return verify_folder(home.cohort(row.cohort_id), row.fingerprint, pseudonyms)


def prepare_registration(home: Home, name: str, *, silo_id: str, provenance: Provenance) -> CohortRegistration:
    """Verify a cohort and return exactly what registering it sends.

    Raises as :func:`verify_cohort`, and ``state-conflict`` while another cohort is registered for the same benchmark
    version: two would count the same patients twice.
    """
    row = find_cohort(home, name)
    next_state(cohort_state(row.state), "register")
    other = registered_cohort(home, row.benchmark, row.version)
    if other is not None and other.cohort_id != row.cohort_id:
        raise MedSiloError("state-conflict", f"retire {other.cohort_id} first; one cohort a benchmark version")
    manifest = verify_cohort(home, row.cohort_id)
    definition = known_benchmark(home, manifest.benchmark)
    fingerprint = row.fingerprint or ""
    publication = load_policy(home).publication
    return cohort_registration(
        manifest, fingerprint, definition, silo_id=silo_id, provenance=provenance, publication=publication
    )


def mark_registered(home: Home, name: str, hub_cohort_id: str, *, now: Clock = _utc_now) -> CohortRow:
    """Note that the hub has a cohort, and its id there."""
    return _move(home, name, "register", now, hub_cohort_id)


def retire_cohort(home: Home, name: str, *, now: Clock = _utc_now) -> CohortRow:
    """Retire a cohort and delete its prepared images, wherever they are kept, and its report.

    Its line in the catalogue stays, and so do images that another cohort has as well.
    """
    row = _move(home, name, "retire", now)
    shutil.rmtree(home.cohort(row.cohort_id), ignore_errors=True)
    wipe_unused(home)
    drop_report(home, row.cohort_id)
    return row


def _move(home: Home, name: str, event: CohortEvent, now: Clock, hub_cohort_id: str | None = None) -> CohortRow:
    before = find_cohort(home, name)
    after = replace(
        before,
        state=next_state(cohort_state(before.state), event),
        hub_cohort_id=hub_cohort_id or before.hub_cohort_id,
    )
    with Catalogue(home.catalogue) as catalogue, catalogue.transaction():
        catalogue.put_cohort(after)
        catalogue.audit(at=now(), actor="site", subject=after.cohort_id, before=before.state, after=after.state)
    return after
