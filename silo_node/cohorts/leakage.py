"""The last question before a cohort is frozen: could a model be tested on what it learned?"""

from collections.abc import Iterable, Mapping

from silo_node.cohorts.manifest import Manifest
from silo_node.wire.errors import IntegrityError


def check_leakage(manifest: Manifest, pixels: Mapping[str, str]) -> None:
    """Raise ``cohort-leaks`` where a patient, or the same picture, is in two splits.

    ``pixels`` is the digest of each case's picture. The steps before make both impossible; this is asked of the result.
    """
    _require_one_split((case.patient, case.split) for case in manifest.cases)
    _require_one_split((pixels.get(case.case, case.case), case.split) for case in manifest.cases)


def _require_one_split(places: Iterable[tuple[str, str]]) -> None:
    seen: dict[str, str] = {}
    if any(seen.setdefault(key, split) != split for key, split in places):
        raise IntegrityError("cohort-leaks")
