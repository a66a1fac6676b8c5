"""A cohort as the hub may know it: a keyed fingerprint, counts above the limits, and nothing of any patient."""

from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Count, Fingerprint, Identifier, Message, Name
from silo_node.wire.benchmarks import BenchmarkReference, Provenance, TaskKind
from silo_node.wire.envelope import Envelope

CountBand = Literal["fewer-than-20", "20-49", "50-99", "100-249", "250-499", "500-999", "1000-4999", "5000-or-more"]
Maker = Literal["ge", "siemens", "philips", "canon", "fujifilm", "other"]
Publication = Literal["withheld", "pseudonym", "named"]
"""How a leaderboard shows a site's own values: not at all, as "Site A", or under the hospital's name."""

AssociationState = Literal["requested", "approved", "declined", "ended"]


def count_band(count: int) -> CountBand:
    """Return the band a count falls in, for cards that must not tell exact small numbers."""
    bounds: tuple[tuple[int, CountBand], ...] = (
        (20, "fewer-than-20"),
        (50, "20-49"),
        (100, "50-99"),
        (250, "100-249"),
        (500, "250-499"),
        (1000, "500-999"),
        (5000, "1000-4999"),
    )
    return next((band for bound, band in bounds if count < bound), "5000-or-more")


class CohortCard(Message):
    """What readers may know about a cohort."""

    task: TaskKind
    modality: Annotated[str, Field(pattern=r"^[A-Z]{2,4}$")]
    provenance: Provenance
    patients: CountBand
    classes: Annotated[tuple[CountBand, ...], Field(max_length=20)]
    """Cases of each label of the benchmark in its order (classification); empty for segmentation."""

    makers: Annotated[tuple[Maker, ...], Field(max_length=6)]


class CohortRegistration(Message):
    """A silo's signed statement that it holds a frozen cohort for a benchmark version.

    ``training_cases`` is the weight of the silo in every federated average; no update can claim another one.
    """

    silo_id: Identifier
    benchmark: BenchmarkReference
    fingerprint: Fingerprint
    training_cases: Count
    validation_cases: Count
    test_cases: Count
    card: CohortCard
    publication: Publication = "withheld"
    """Per-site values are published only where the site says so, and never before enough sites have reported."""


class CohortRecord(Message):
    """The hub's answer: the cohort's id there, and where its association with the benchmark stands."""

    cohort_id: Identifier
    fingerprint: Fingerprint
    association: AssociationState


class AssociationDecision(Message):
    """A signed yes or no to what was asked of a silo."""

    association_id: Identifier
    silo_id: Identifier
    approve: bool
    reason: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,59}$")] | None = None
    sealing_key: Envelope | None = None
    """With a yes to a decentralised study: the silo's signed ``SealingKey``, for its neighbours."""

    levels: Annotated[tuple[Name, ...], Field(max_length=20)] | None = None
    """With a yes to a study whose updates are compressed: the levels this site can and will send them at."""


class AssociationView(Message):
    """An association as one of its two sides sees it."""

    association_id: Identifier
    kind: Literal["cohort-benchmark", "model-benchmark", "silo-study"]
    state: AssociationState
    benchmark: Name
    benchmark_version: int
    subject: str
    """A cohort fingerprint, a model digest or a study id."""
