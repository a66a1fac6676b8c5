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
from silo_node.cohorts.cache import PreparedCache, wipe_unused
from silo_node.cohorts.drawn import drawn_before, keep_drawn
from silo_node.cohorts.labels import label_candidates
from silo_node.cohorts.leakage import check_leakage
from silo_node.cohorts.lifecycle import cohort_state, next_state
from silo_node.cohorts.manifest import MANIFEST_FILE, Manifest, ManifestCase, case_path
from silo_node.cohorts.preparation import Prepare, Prepared, judge, judge_cached, stage
from silo_node.cohorts.query import CohortQuery
from silo_node.cohorts.selection import Candidate, Chosen, Selection, Step, select, without_duplicates
from silo_node.cohorts.split import SPLITS, Split, split_patients
from silo_node.deidentify.output_check import IMAGE_FILE, LABEL_FILE, RECORD_FILE
from silo_node.deidentify.pseudonyms import Pseudonyms, load_site_key
from silo_node.deidentify.written import WrittenCheck
from silo_node.intake.store import exclusive, flush_filesystem
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import BadInput

_BUILDING = ".building"


@dataclass(frozen=True)
class Built:
    """A frozen cohort, and how its cases were chosen."""

    cohort: CohortRow
    steps: tuple[Step, ...]

    @property
    def excluded(self) -> dict[str, int]:
        """How many cases were left out for each reason."""
        return {step.reason: step.left_out for step in self.steps if step.left_out}


def build_cohort(
    home: Home,
    definition: BenchmarkDefinition,
    prepare: Prepare,
    *,
    minimum_cases: int,
    collection: str | None = None,
    query: CohortQuery | None = None,
    labels: Path | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Built:
    """Build and freeze a cohort for a benchmark from the raw cases of one collection, or of all.

    ``query`` narrows the choice, ``labels`` is a table that gives cases their labels.
    Raises ``cohort-too-small`` under ``minimum_cases``, ``label-unknown``, ``patient-in-two-splits``,
    ``output-invalid``, ``identifier-leak``, ``state-locked``, or what ``prepare`` raises; then there is no cohort and
    nothing is left.
    """
    home.create()
    with exclusive(home), Catalogue(home.catalogue) as catalogue:
        build = _Build(home, catalogue, definition, now)
        build.clear_leftovers()
        rows = {row.case_id: row for row in catalogue.cases(collection)}
        candidates = [_candidate(home, row) for row in rows.values()]
        if labels is not None:
            pseudonyms = Pseudonyms(load_site_key(home.site_key_file))
            candidates = label_candidates(candidates, labels, home, pseudonyms)
        selection = select(candidates, definition, query)
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
        splits = self._splits(selection.chosen, pseudonyms)
        selection = without_duplicates(selection, splits.__getitem__)
        _require_enough(len(selection.chosen), minimum_cases)
        cohort_id, existing = self._identify(rows, selection.chosen, splits, pseudonyms)
        if existing is not None:
            return Built(existing, selection.steps)
        draft = self._draft(cohort_id)
        building = self._home.cohorts / (cohort_id + _BUILDING)
        try:
            cache = PreparedCache(self._home, self._definition, pseudonyms)
            prepared = self._prepare(prepare, selection.chosen, splits, building, cache, rows)
            _require_enough(len(prepared.digests), minimum_cases)
            manifest = _manifest(cohort_id, self._reference, selection.chosen, splits, prepared)
            check_leakage(manifest, {case.candidate.case_id: case.candidate.pixels for case in selection.chosen})
            keep_drawn(self._home, self._reference.name, {case.patient: case.split for case in manifest.cases})
            row = self._freeze(draft, manifest, building, pseudonyms)
        except BaseException:
            self.clear_leftovers()
            wipe_unused(self._home)
            raise
        return Built(row, (*selection.steps, *_refused_steps(manifest, prepared)))

    def _splits(self, chosen: tuple[Chosen, ...], pseudonyms: Pseudonyms) -> dict[str, Split]:
        """Divide the patients; a patient's stratum is the highest of the labels their cases have."""
        strata: dict[str, int] = {}
        for case in chosen:
            strata[case.candidate.patient] = max(strata.get(case.candidate.patient, 0), case.label or 0)
        return split_patients(
            ((case.candidate.patient, case.candidate.split) for case in chosen),
            self._definition.split,
            lambda patient: pseudonyms.draw(self._definition.name, patient),
            strata={patient: str(label) for patient, label in strata.items()},
            earlier=drawn_before(self._home, self._definition.name),
        )

    def _identify(
        self,
        rows: Mapping[str, CaseRow],
        chosen: tuple[Chosen, ...],
        splits: Mapping[str, Split],
        pseudonyms: Pseudonyms,
    ) -> tuple[str, CohortRow | None]:
        """Return the id of a cohort of these inputs, and that cohort if there is one that is not retired."""
        taken = [(rows[case.candidate.case_id], splits[case.candidate.patient], case.label) for case in chosen]
        inputs = [[row.case_id, row.content, row.record, split, label] for row, split, label in taken]
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
        self,
        prepare: Prepare,
        chosen: tuple[Chosen, ...],
        splits: Mapping[str, Split],
        building: Path,
        cache: PreparedCache,
        rows: Mapping[str, CaseRow],
    ) -> Prepared:
        """Let the cases be prepared that were not before, and move what was asked for into the new cohort's folder."""
        (building / "cases").mkdir(mode=0o700, parents=True)
        building.chmod(0o700)
        cached = cache.take(chosen, rows, building)
        digests = judge_cached(building, cached, chosen, self._definition)
        missing = tuple(case for case in chosen if case.candidate.case_id not in cached)
        if not missing:
            return Prepared(digests, {})
        new = self._prepare_new(prepare, missing, splits, building)
        cache.keep(missing, rows, building, new.digests)
        return Prepared(digests | new.digests, new.refused)

    def _prepare_new(
        self, prepare: Prepare, chosen: tuple[Chosen, ...], splits: Mapping[str, Split], building: Path
    ) -> Prepared:
        staging, out = _staging(self._home), building / "out"
        stage(self._home.raw, staging, chosen, splits)
        (out / "cases").mkdir(mode=0o700, parents=True)
        prepare(staging, out, self._definition)
        prepared = judge(out, chosen, self._definition)
        for case_id in prepared.digests:
            os.rename(out / case_path(case_id), building / case_path(case_id))
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
        collection=row.collection,
        spacing_mm=tuple(record["spacing_mm"]),
        shape=_spatial_shape(folder / IMAGE_FILE, len(record["spacing_mm"])),
        pixels=digest_file(folder / IMAGE_FILE),
    )


def _spatial_shape(path: Path, dimensions: int) -> tuple[int, ...]:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return tuple(header["image"]["shape"][-dimensions:])


def _refused_steps(manifest: Manifest, prepared: Prepared) -> list[Step]:
    """Return what the preparation refused, the largest number first, as further steps."""
    steps, left = [], len(manifest.cases) + len(prepared.refused)
    for code, count in Counter(prepared.refused.values()).most_common():
        left -= count
        steps.append(Step(code, count, left, len(manifest.patients())))
    return steps


def _require_enough(cases: int, minimum: int) -> None:
    if cases < max(minimum, 1):
        raise BadInput("cohort-too-small", f"{cases} cases fit the benchmark; the site's minimum is {minimum}")


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
    check = WrittenCheck(home, allowed=(manifest.format, definition.name, *definition.labels, *SPLITS))
    check.document(manifest.model_dump(mode="json"))
    for case in manifest.cases:
        check.array((building / case.path).read_bytes())


def _facts(manifest: Manifest) -> dict[str, int]:
    counts: dict[str, int] = {split: manifest.count(split) for split in SPLITS}
    return {"cases": len(manifest.cases), "patients": len(manifest.patients()), **counts}
