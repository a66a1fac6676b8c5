"""What is told of a cohort: the card readers see, and the registration the hub keeps. Nothing else of it leaves."""

from collections import Counter

from silo_node.cohorts.manifest import Manifest
from silo_node.wire.benchmarks import BenchmarkDefinition, Provenance
from silo_node.wire.cohorts import CohortCard, CohortRegistration, CountBand, Maker, Publication, count_band

MAKERS: tuple[Maker, ...] = ("ge", "siemens", "philips", "canon", "fujifilm", "other")


def cohort_card(manifest: Manifest, definition: BenchmarkDefinition, provenance: Provenance) -> CohortCard:
    """Return a cohort's card: bands in place of counts, and no maker with fewer patients than may be told."""
    return CohortCard(
        task=definition.task,
        modality=definition.modality,
        provenance=provenance,
        patients=count_band(len(manifest.patients())),
        classes=_class_bands(manifest, definition),
        makers=_told_makers(manifest, definition.disclosure.minimum_cell),
    )


def cohort_registration(
    manifest: Manifest,
    fingerprint: str,
    definition: BenchmarkDefinition,
    *,
    silo_id: str,
    provenance: Provenance,
    publication: Publication = "withheld",
) -> CohortRegistration:
    """Return the statement a silo signs about a frozen cohort; it is everything that registering sends."""
    return CohortRegistration(
        silo_id=silo_id,
        benchmark=manifest.benchmark,
        fingerprint=fingerprint,
        training_cases=manifest.count("train"),
        validation_cases=manifest.count("validation"),
        test_cases=manifest.count("test"),
        card=cohort_card(manifest, definition, provenance),
        publication=publication,
    )


def _class_bands(manifest: Manifest, definition: BenchmarkDefinition) -> tuple[CountBand, ...]:
    if definition.task == "segmentation":
        return ()
    counts = Counter(case.label for case in manifest.cases)
    return tuple(count_band(counts[index]) for index in range(len(definition.labels)))


def _told_makers(manifest: Manifest, minimum: int) -> tuple[Maker, ...]:
    patients = {(case.attributes.get("maker"), case.patient) for case in manifest.cases}
    counts = Counter(maker for maker, _ in patients)
    return tuple(maker for maker in MAKERS if counts[maker] >= minimum)
