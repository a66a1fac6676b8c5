"""A cohort's report: how its cases were chosen, what they are like, and what they look like."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from silo_node.catalogue import CohortRow
from silo_node.cohorts.manifest import Manifest, read_manifest
from silo_node.cohorts.quality import FAR_OUT, MEASURED, CaseFacts, Quality, measure, quality
from silo_node.cohorts.selection import Step
from silo_node.cohorts.split import SPLITS
from silo_node.deidentify.written import WrittenCheck
from silo_node.reports.charts import bars, flow, histogram, montage
from silo_node.reports.files import write_report
from silo_node.reports.page import page, paragraph, section, table
from silo_node.reports.reasons import left_out
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition

MONTAGE_CASES = 24


@dataclass(frozen=True)
class CohortReport:
    """Everything a cohort's report says."""

    cohort_id: str
    benchmark: str
    version: int
    fingerprint: str | None
    created: str
    query: dict[str, Any]
    steps: tuple[Step, ...]
    quality: Quality

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return asdict(self)


def write_cohort_report(
    home: Home, row: CohortRow, steps: Sequence[Step], definition: BenchmarkDefinition, query: dict[str, Any]
) -> Path:
    """Measure a frozen cohort and write its report; return the page's path.

    Raises ``identifier-leak`` where the page would hold a text of a source; then nothing is written.
    """
    folder = home.cohort(row.cohort_id)
    manifest = read_manifest(folder)
    facts = measure(folder, home.raw, manifest, definition)
    report = CohortReport(
        cohort_id=row.cohort_id,
        benchmark=row.benchmark,
        version=row.version,
        fingerprint=row.fingerprint,
        created=row.created,
        query=query,
        steps=tuple(steps),
        quality=quality(facts, manifest, definition),
    )
    html = cohort_page(report, facts, _pictures(folder, manifest, definition), definition)
    # The page is these facts between sentences of its own; a sentence may well use a word of some header.
    WrittenCheck(home, allowed=(*definition.labels, *SPLITS, *MEASURED)).document([asdict(report.quality), query])
    return write_report(home, row.cohort_id, html, report.document())


def cohort_page(
    report: CohortReport,
    facts: Sequence[CaseFacts],
    pictures: tuple[list[Any], list[Any]],
    definition: BenchmarkDefinition,
) -> str:
    """Return the report as a page."""
    found = report.quality
    lead = f"{definition.title}, version {report.version}; {found.cases:,} cases of {found.patients:,} patients"
    parts = [
        paragraph(f"Fingerprint {report.fingerprint}, frozen {report.created}. This page stays at the site."),
        section("How the cases were chosen", flow(_boxes(report.steps))),
        _splits(found, definition),
        section("What they look like", montage(_montage_title(definition), *pictures)),
        _distributions(found, facts),
        _attributes(found),
        _stands_out(found),
    ]
    return page(f"Cohort {report.cohort_id}", lead, parts)


def _boxes(steps: Sequence[Step]) -> list[tuple[str, str, str]]:
    """Return the steps that left something out, and the first."""
    shown = [step for place, step in enumerate(steps) if place == 0 or step.left_out]
    return [
        (
            f"{step.cases:,} cases, {step.patients:,} patients",
            f"{step.left_out:,} {left_out(step.reason)}" if step.left_out else "",
            "",
        )
        for step in shown
    ]


def _splits(found: Quality, definition: BenchmarkDefinition) -> str:
    rows = [(split, counts["cases"], counts["patients"]) for split, counts in found.splits.items()]
    what = "Cases with each structure" if definition.task == "segmentation" else "Cases of each class"
    lacking = [
        paragraph(f"{count} cases have no voxel of {name}.", "warning")
        for name, count in found.without_structure.items()
    ]
    return section("Splits and labels", table(("split", "cases", "patients"), rows), bars(what, found.labels), *lacking)


def _distributions(found: Quality, facts: Sequence[CaseFacts]) -> str:
    spacings = [(text, count) for text, count in list(found.spacings_mm.items())[:12]]
    sizes = [(text, count) for text, count in list(found.sizes.items())[:12]]
    volumes = [
        histogram(f"Volume of {name}, ml", [case.structures_ml[index] for case in facts])
        for index, name in enumerate(found.labels if facts and facts[0].structures_ml else ())
    ]
    return section(
        "Sizes and intensities",
        table(("spacing as taken in, mm", "cases"), spacings),
        table(("size as taken in, voxels", "cases"), sizes),
        histogram("Mean of each prepared image", [case.mean for case in facts]),
        histogram("Standard deviation of each prepared image", [case.deviation for case in facts]),
        *volumes,
    )


def _attributes(found: Quality) -> str:
    rows = [
        (name, ", ".join(f"{value} {count}" for value, count in values.items()) or None, found.missing[name])
        for name, values in found.attributes.items()
    ]
    return section("Attributes", table(("attribute", "values and cases", "missing"), rows))


def _stands_out(found: Quality) -> str:
    flat = [paragraph(f"{len(found.flat)} images have one value only: {', '.join(found.flat)}", "warning")]
    text = f"Values at least {FAR_OUT:g} robust standard deviations from the cohort's median."
    rows = [(case, what, far) for case, what, far in found.outliers[:50]]
    body = table(("case", "what", "deviations"), rows) if rows else paragraph("None.")
    return section("What stands out", *(flat if found.flat else []), paragraph(text), body)


def _montage_title(definition: BenchmarkDefinition) -> str:
    return "Middle slices, label maps outlined" if definition.task == "segmentation" else "Prepared images"


def _pictures(folder: Path, manifest: Manifest, definition: BenchmarkDefinition) -> tuple[list[Any], list[Any]]:
    """Return a few cases as pictures, and their label maps: evenly taken from the keyed order, so at random."""
    step = max(1, len(manifest.cases) // MONTAGE_CASES)
    images, labels = [], []
    for case in manifest.cases[::step][:MONTAGE_CASES]:
        tensors = load_file(folder / case.path)
        label = tensors["label"] if definition.task == "segmentation" else None
        image, cut = _middle(tensors["image"][0], label)
        images.append(image)
        labels.append(cut)
    return images, labels


def _middle(image: Any, label: Any) -> tuple[Any, Any]:
    """Return the slice with the most label, else the middle one, upright as on a screen."""
    if image.ndim == 2:
        return image, label
    place = image.shape[2] // 2
    if label is not None and label.any():
        place = int(np.argmax((label > 0).sum(axis=(0, 1))))
    return np.rot90(image[:, :, place]), None if label is None else np.rot90(label[:, :, place])
