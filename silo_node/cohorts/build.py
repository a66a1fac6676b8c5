"""Building a cohort: choose, split, prepare, write the manifest, freeze.

A draft that was killed on the way leaves nothing: the next build clears it. The id follows from the inputs, so building
again from the same cases gives the cohort that is there.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from silo_node.benchmarks import keep_benchmark
from silo_node.catalogue import CaseRow, Catalogue, CohortRow, stamp
from silo_node.cohorts.lifecycle import cohort_state, next_state
from silo_node.cohorts.manifest import MANIFEST_FILE, Manifest, ManifestCase, case_path
from silo_node.cohorts.preparation import Prepare, Prepared, judge, stage
from silo_node.cohorts.selection import Candidate, Chosen, Selection, select
from silo_node.cohorts.split import SPLITS, Split, split_patients
from silo_node.deidentify.output_check import LABEL_FILE, RECORD_FILE
from silo_node.deidentify.pseudonyms import Pseudonyms, load_site_key
from silo_node.deidentify.written import WrittenCheck
from silo_node.intake.store import exclusive, flush_filesystem
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.errors import BadInput

_BUILDING = ".building"


@dataclass(frozen=True)
class Built:
    """A frozen cohort, and how many cases were left out for each reason."""

    cohort: CohortRow
    excluded: dict[str, int]


def build_cohort(
    home: Home,
    definition: BenchmarkDefinition,
    prepare: Prepare,
    *,
    minimum_cases: int,
    collection: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Built:
    """Build and freeze a cohort for a benchmark from the raw cases of one collection, or of all.

    Raises ``cohort-too-small`` under ``minimum_cases``, ``label-unknown``, ``patient-in-two-splits``,
    ``output-invalid``, ``identifier-leak``, ``state-locked``, or what ``prepare`` raises; then there is no cohort and
    nothing is left.
    """
    home.create()
    with exclusive(home), Catalogue(home.catalogue) as catalogue:
        build = _Build(home, catalogue, definition, now)
        build.clear_leftovers()
        rows = {row.case_id: row for row in catalogue.cases(collection)}
        selection = select([_candidate(home, row) for row in rows.values()], definition)
        _require_enough(len(selection.chosen), minimum_cases)
        return build.run(rows, selection, prepare, minimum_cases)


class _Build:
    def __init__(
        self, home: Home, catalogue: Catalogue, definition: BenchmarkDefinition, now: Callable[[], datetime]
    ) -> None:
        self._home, self._catalogue, self._definition, self._now = home, catalogue, definition, now
        self._reference = keep_benchmark(home, definition)

    def clear_leftovers(self) -> None:
        """Remove what builds and retired cohorts left behind.

        A build that went well leaves its staging, hard links within the private store, to the next one: removing
        thousands of folders can take longer than preparing them.
        """
        shutil.rmtree(_staging(self._home), ignore_errors=True)
        for folder in self._home.cohorts.glob("*" + _BUILDING):
            shutil.rmtree(folder)
        for row in self._catalogue.cohorts():
            if row.state in ("draft", "retired"):
                shutil.rmtree(self._home.cohort(row.cohort_id), ignore_errors=True)
                self._catalogue.drop_cohort(row.cohort_id)

    def run(self, rows: Mapping[str, CaseRow], selection: Selection, prepare: Prepare, minimum_cases: int) -> Built:
        pseudonyms = Pseudonyms(load_site_key(self._home.site_key_file))
        splits = _splits(selection.chosen, self._definition, pseudonyms)
        cohort_id, existing = self._identify(rows, selection.chosen, splits, pseudonyms)
        if existing is not None:
            return Built(existing, selection.excluded)
        draft = self._draft(cohort_id)
        building = self._home.cohorts / (cohort_id + _BUILDING)
        try:
            prepared = self._prepare(prepare, selection.chosen, splits, building)
            _require_enough(len(prepared.digests), minimum_cases)
            manifest = _manifest(cohort_id, self._reference, selection.chosen, splits, prepared)
            row = self._freeze(draft, manifest, building, pseudonyms)
        except BaseException:
            self.clear_leftovers()
            raise
        return Built(row, selection.excluded | Counter(prepared.refused.values()))

    def _identify(
        self,
        rows: Mapping[str, CaseRow],
        chosen: tuple[Chosen, ...],
        splits: Mapping[str, Split],
        pseudonyms: Pseudonyms,
    ) -> tuple[str, CohortRow | None]:
        """Return the id of a cohort of these inputs, and that cohort if there is one that is not retired."""
        taken = [(rows[case.candidate.case_id], splits[case.candidate.patient]) for case in chosen]
        inputs = [[row.case_id, row.content, row.record, split] for row, split in taken]
        generation = 0
        while True:
            described = {"benchmark": self._reference.digest, "cases": inputs, "generation": generation}
            cohort_id = "coh-" + pseudonyms.seal("cohort", canonical_bytes(described))[:16]
            existing = self._catalogue.cohort(cohort_id)
            if existing is None or existing.state != "retired":
                return cohort_id, existing
            generation += 1

    def _draft(self, cohort_id: str) -> CohortRow:
        row = CohortRow(
            cohort_id=cohort_id,
            state="draft",
            benchmark=self._reference.name,
            version=self._reference.version,
            definition=self._reference.digest,
            fingerprint=None,
            facts={},
            hub_cohort_id=None,
            created=stamp(self._now()),
        )
        with self._catalogue.transaction():
            self._catalogue.put_cohort(row)
            self._catalogue.audit(at=self._now(), actor="site", subject=cohort_id, before=None, after="draft")
        return row

    def _prepare(
        self, prepare: Prepare, chosen: tuple[Chosen, ...], splits: Mapping[str, Split], building: Path
    ) -> Prepared:
        """Let the cases be prepared, and move what was asked for into the new cohort's folder."""
        staging, out = _staging(self._home), building / "out"
        stage(self._home.raw, staging, chosen, splits)
        (out / "cases").mkdir(mode=0o700, parents=True)
        building.chmod(0o700)
        prepare(staging, out, self._definition)
        prepared = judge(out, chosen, self._definition)
        os.rename(out / "cases", building / "cases")
        shutil.rmtree(out)
        return prepared

    def _freeze(self, draft: CohortRow, manifest: Manifest, building: Path, pseudonyms: Pseudonyms) -> CohortRow:
        _check_written(self._home, building, manifest, self._definition)
        (building / MANIFEST_FILE).write_bytes(canonical_bytes(manifest))
        flush_filesystem(building)
        os.rename(building, self._home.cohort(draft.cohort_id))
        frozen = replace(
            draft,
            state=next_state(cohort_state(draft.state), "freeze"),
            fingerprint=manifest.fingerprint(pseudonyms),
            facts=_facts(manifest),
        )
        with self._catalogue.transaction():
            self._catalogue.put_cohort(frozen)
            self._catalogue.audit(
                at=self._now(), actor="site", subject=draft.cohort_id, before=draft.state, after=frozen.state
            )
        return frozen


def _staging(home: Home) -> Path:
    return home.private / "staging"


def _candidate(home: Home, row: CaseRow) -> Candidate:
    folder = home.raw / row.case_id
    record = json.loads((folder / RECORD_FILE).read_bytes())
    return Candidate(
        case_id=row.case_id,
        patient=row.patient,
        modality=row.modality,
        label=record["label"],
        has_label_map=(folder / LABEL_FILE).exists(),
        split=record["split"],
        attributes=record["attributes"],
    )


def _require_enough(cases: int, minimum: int) -> None:
    if cases < max(minimum, 1):
        raise BadInput("cohort-too-small", f"{cases} cases fit the benchmark; the site's minimum is {minimum}")


def _splits(chosen: tuple[Chosen, ...], definition: BenchmarkDefinition, pseudonyms: Pseudonyms) -> dict[str, Split]:
    declared = ((case.candidate.patient, case.candidate.split) for case in chosen)
    return split_patients(declared, definition.split, lambda patient: pseudonyms.draw(definition.name, patient))


def _manifest(
    cohort_id: str,
    benchmark: BenchmarkReference,
    chosen: tuple[Chosen, ...],
    splits: Mapping[str, Split],
    prepared: Prepared,
) -> Manifest:
    return Manifest(
        cohort_id=cohort_id,
        benchmark=benchmark,
        cases=tuple(
            ManifestCase(
                case=case.candidate.case_id,
                patient=case.candidate.patient,
                split=splits[case.candidate.patient],
                path=case_path(case.candidate.case_id),
                digest=prepared.digests[case.candidate.case_id],
                label=case.label,
                attributes=case.candidate.attributes,
            )
            for case in chosen
            if case.candidate.case_id in prepared.digests
        ),
    )


def _check_written(home: Home, building: Path, manifest: Manifest, definition: BenchmarkDefinition) -> None:
    """Search a cohort for the identifiers of every case of the site before it is kept; nothing is kept with one."""
    check = WrittenCheck(home, allowed=(definition.name, *definition.labels))
    check.document(manifest.model_dump(mode="json"))
    for case in manifest.cases:
        check.array((building / case.path).read_bytes())


def _facts(manifest: Manifest) -> dict[str, int]:
    counts: dict[str, int] = {split: manifest.count(split) for split in SPLITS}
    return {"cases": len(manifest.cases), "patients": len(manifest.patients()), **counts}
