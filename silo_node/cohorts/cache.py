"""Prepared cases that are used again: ``private/prepared/<key>.<digest>``, one file for all cohorts that have the case.

The key changes with the image, its label map and record, the benchmark's preparation, and the software; the digest says
whether the file still is what was prepared. Cohorts hold hard links to these files, so a file that no cohort has any
more has one name, and is wiped when a cohort is retired.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from silo_node import __version__
from silo_node.catalogue import CaseRow
from silo_node.cohorts.files import link
from silo_node.cohorts.manifest import case_path
from silo_node.cohorts.selection import Chosen
from silo_node.deidentify.pseudonyms import Pseudonyms
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_file, hex_part

_PREPARED_BY = {"silo-node": __version__, "monai": version("monai"), "torch": version("torch")}


@dataclass(frozen=True)
class PreparedCache:
    """The cache as one benchmark's preparation sees it."""

    home: Home
    definition: BenchmarkDefinition
    pseudonyms: Pseudonyms

    def take(self, chosen: tuple[Chosen, ...], rows: Mapping[str, CaseRow], folder: Path) -> frozenset[str]:
        """Link what is there of some cases into a cohort's folder; return their ids."""
        found = set()
        for case in chosen:
            cached = self._files.get(self._key(case, rows))
            if cached is not None and hex_part(digest_file(cached)) == cached.suffix.removeprefix("."):
                link(cached, folder / case_path(case.candidate.case_id))
                found.add(case.candidate.case_id)
        return frozenset(found)

    def keep(
        self, chosen: tuple[Chosen, ...], rows: Mapping[str, CaseRow], folder: Path, digests: Mapping[str, str]
    ) -> None:
        """Keep the prepared cases of a cohort's folder for the next one."""
        root = _root(self.home)
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for case in chosen:
            case_id = case.candidate.case_id
            if case_id in digests:
                place = root / f"{self._key(case, rows)}.{hex_part(digests[case_id])}"
                if not place.exists():
                    link(folder / case_path(case_id), place)

    @cached_property
    def _files(self) -> dict[str, Path]:
        return {path.stem: path for path in _root(self.home).glob("*.*")}

    @cached_property
    def _preparation(self) -> dict[str, object]:
        asked = self.definition.model_dump(mode="json", include={"task", "labels", "input", "preparation"})
        return {**asked, "by": _PREPARED_BY}

    def _key(self, case: Chosen, rows: Mapping[str, CaseRow]) -> str:
        candidate = case.candidate
        what = [candidate.case_id, candidate.pixels, rows[candidate.case_id].record, case.label, self._preparation]
        return self.pseudonyms.seal("prepared", canonical_bytes({"what": what}))


def wipe_unused(home: Home) -> int:
    """Delete the prepared cases that no cohort has; return how many."""
    unused = [path for path in _root(home).glob("*.*") if os.stat(path).st_nlink == 1]
    for path in unused:
        path.unlink()
    return len(unused)


def _root(home: Home) -> Path:
    return home.private / "prepared"
