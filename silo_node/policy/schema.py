"""The schema of ``policy.toml``: every rule a site can write, with its careful default.

The settings reference is generated from these classes and the sentences below their fields.
"""

from typing import Annotated, Literal

from pydantic import Field

from silo_node.config import Settings
from silo_node.deidentify.pixel_risk import Risk
from silo_node.wire.base import Digest, Name, Title
from silo_node.wire.cohorts import Publication
from silo_node.wire.purposes import LegalBasis, Purpose

Release = Literal["hold", "auto"]
"""``hold``: a person releases each one (``silo-node outbox``); ``auto``: the gate lets it pass."""

Clock = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$")]


class RequesterRules(Settings):
    """Who may ask this site for anything. A list that is absent lets everybody ask; an empty one, nobody."""

    organisations: tuple[Title, ...] | None = None
    """Organisations whose models are evaluated and whose studies are considered, by the name the hub shows."""

    people: tuple[Title, ...] | None = None
    """Persons whose studies are considered, by the name the hub shows."""


class PurposeRules(Settings):
    """What this site's cases may be used for."""

    allow: tuple[Purpose, ...] = ("benchmarking", "research")
    """Purposes a request may state: benchmarking, research, quality-assurance or product-development."""

    legal_bases: tuple[LegalBasis, ...] | None = None
    """Legal bases a study may state; absent: any, and none at all."""


class BenchmarkRules(Settings):
    """Which benchmarks this site takes part in."""

    allow: tuple[Name, ...] = ()
    """Benchmarks, by name; ``silo-node benchmark join`` and ``leave`` edit the list."""


class StudyRules(Settings):
    """Which federated studies this site takes part in. A study's benchmark must be allowed as well."""

    allow: tuple[Name, ...] = ()
    """Studies, by the name in their plan, that are said yes to without asking a person."""

    others: Literal["refuse", "hold", "auto"] = "hold"
    """What happens to any other: a coded no, a question to a person, or yes."""

    maximum_rounds: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """A study with more rounds is refused."""

    lossiest: Literal["lossless", "half", "int8", "topk"] = "topk"
    """How much the compression of this site's updates may lose; where a plan asks for more, this level is sent."""


class ReleaseRules(Settings):
    """What leaves by itself and what a person lets go."""

    registrations: Release = "hold"
    """A cohort's fingerprint and card."""

    results: Release = "hold"
    """The estimate block of an evaluation."""

    updates: Release = "hold"
    """A round's model update and validation score."""

    persons: Annotated[int, Field(ge=1, le=2)] = 1
    """How many different persons must release a held thing before it leaves."""


class DisclosureRules(Settings):
    """This site's own limits on what is told about few patients; a benchmark's count where they are stricter."""

    minimum_class: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Fewest patients of a class about which anything is told."""

    minimum_cell: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Fewest patients behind any count."""

    decimals: Annotated[int, Field(ge=2, le=6)] = 6
    """Decimals of a released number, at most."""


class BudgetRules(Settings):
    """How much one organisation may learn here in a calendar month (UTC)."""

    submissions: Annotated[int, Field(ge=0, le=100_000)] = 100
    """Different models of one owner that are evaluated."""

    bits: Annotated[float, Field(ge=0, le=10**12)] = 200_000
    """Bits released on an owner's models and in the reports of his studies' rounds: of each number, the logarithm of
    its range over its step. Model updates have a budget of their own."""

    updates: Annotated[int, Field(ge=0, le=1_000_000)] = 1_000
    """Model updates of an owner's studies, one a round. They are counted by the piece: each has room for more than any
    budget of bits, which could only mean none or all; ``silo-node outbox show`` tells how much."""

    epsilon: Annotated[float, Field(gt=0, le=1000)] | None = None
    """Privacy loss of any patient over all studies and statistics, for ever; a study that states none is refused."""

    delta: Annotated[float, Field(gt=0, le=1e-2)] = 1e-5
    """The delta at which this site adds up privacy losses; it should be well under one over the patients."""


class ResourceRules(Settings):
    """What strangers' work may take of this machine; ``silo.toml`` counts where it is stricter."""

    quiet_hours: tuple[Clock, ...] = ()
    """Hours of local time, such as ``07:00-18:30``, in which no work is begun."""

    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """Processor threads of one jail."""

    memory_mb: Annotated[int, Field(ge=256, le=4_000_000)] | None = None
    """Memory of one jail."""

    gpu_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of a graphics card's memory that a study's training may take; 0: none is shown to any jail."""

    disk_quota_mb: Annotated[int, Field(ge=0, le=10**9)] = 50_000
    """Models, scores and work in progress together; no task is taken beyond it."""


class IntakeRules(Settings):
    """Which images are taken in although their pixels may show who the patient is."""

    allow_pixel_risks: tuple[Risk, ...] = ()
    """Coded reasons a person of this site has looked at and lets through."""


class Policy(Settings):
    """All rules of a site."""

    minimum_cohort: Annotated[int, Field(ge=1, le=10**6)] = 20
    """Fewest cases a model may be evaluated or trained on here."""

    model_tiers: tuple[Annotated[int, Field(ge=1, le=3)], ...] = (1,)
    """1: code-free bundles; 2: ONNX; 3: anything with code, and then only what ``containers`` names."""

    containers: tuple[Digest, ...] = ()
    """Digests of models with code (tier 3) that a person of this site has looked at and lets run in the jail."""

    publication: Publication = "withheld"
    """How leaderboards show this site's own values; registering a cohort tells the hub."""

    requesters: RequesterRules = RequesterRules()
    purposes: PurposeRules = PurposeRules()
    benchmarks: BenchmarkRules = BenchmarkRules()
    studies: StudyRules = StudyRules()
    release: ReleaseRules = ReleaseRules()
    disclosure: DisclosureRules = DisclosureRules()
    budget: BudgetRules = BudgetRules()
    resources: ResourceRules = ResourceRules()
    intake: IntakeRules = IntakeRules()
