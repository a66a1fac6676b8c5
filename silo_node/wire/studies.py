"""A federated study: its plan, what one round asks of a silo, and what a silo answers."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from silo_node.wire.base import Code, Count, Digest, Fingerprint, Identifier, Message, Name, Seconds, Title
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.compression import Compression, Uncompressed
from silo_node.wire.course import Evaluation, Gate, InRounds, Schedule, Verdict
from silo_node.wire.envelope import PublicKey
from silo_node.wire.masking import SecureAggregation
from silo_node.wire.models import ModelReference
from silo_node.wire.neighbours import Decentralised, Exchange, Neighbour
from silo_node.wire.privacy import Privacy
from silo_node.wire.purposes import LegalBasis, Purpose
from silo_node.wire.strategies import (
    Combination,
    Ditto,
    FedAvg,
    FedBN,
    Mean,
    Personalisation,
    Scaffold,
    Shared,
    Strategy,
)
from silo_node.wire.transfers import BlobReference

StudyState = Literal["draft", "recruiting", "running", "paused", "completed", "failed", "stopped"]
RoundState = Literal["open", "collecting", "aggregating", "committed", "abandoned", "revoked"]
UpdateState = Literal["expected", "receiving", "verified", "rejected", "folded", "late"]


class LocalTraining(Message):
    """What each silo does with the global model in a round; the optimiser starts afresh every round."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 2e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Of sgd; the others have their own."""

    augment: bool = False
    """Small random moves and changes of intensity, in training only; nothing is mirrored."""

    max_steps: Annotated[int, Field(ge=1, le=10**7)] | None = None
    proximal: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """FedProx (Li et al. 2020): ``proximal / 2 * |w - w_global| ** 2`` is added to the loss."""

    normalise_to: Annotated[int, Field(ge=1, le=10**7)] | None = None
    """FedNova (Wang et al. 2020): every update is scaled as if the silo had made this many steps; with sgd only."""

    def steps(self, cases: int) -> int:
        """Return how many steps a silo with so many training cases makes in a round."""
        steps = self.epochs * -(-cases // self.batch_size)
        return steps if self.max_steps is None else min(steps, self.max_steps)


class StudyPlan(Message):
    """Everything that decides a study, fixed before the first silo says yes."""

    name: Name
    title: Title
    benchmark: BenchmarkReference
    model: ModelReference
    """The accepted model whose architecture is trained and whose weights are the first global model."""

    silos: Annotated[tuple[Identifier, ...], Field(min_length=1, max_length=1000)]
    rounds: Annotated[int, Field(ge=1, le=10_000)]
    quorum: Annotated[int, Field(ge=1, le=1000)]
    """A round is committed with at least this many verified updates, else abandoned."""

    deadline_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)]
    """How long a round waits for updates after it was opened; it closes at once when every silo has answered."""

    strategy: Strategy = FedAvg()
    """How the hub applies the combined update of a round to the global model."""

    robust: Combination = Mean()
    """How the hub makes one update of the sites' updates."""

    local: LocalTraining = LocalTraining()
    personal: Personalisation = Shared()
    """What a silo keeps of its own beside, or in, the global model."""

    schedule: Schedule = InRounds()
    evaluation: Evaluation = Evaluation()
    gate: Gate | None = None
    """Whether sites may refuse a global model that is worse for them."""

    norm_bound: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """The largest L2 norm an update (a difference of weights) may have; a larger one is refused."""

    privacy: Privacy | None = None
    """What a patient, or a whole silo, is promised; without it, nothing in numbers."""

    secure_aggregation: SecureAggregation | None = None
    """With it the hub sees sums of updates only."""

    decentralised: Decentralised | None = None
    """With it there is no global model: each silo keeps its own and mixes it with its neighbours'."""

    compression: Compression = Uncompressed()
    """How the files of updates are made smaller; a silo may send what loses less, never what loses more."""

    baseline: Identifier | None = None
    """The study by plain federated averaging, over the same sites and with the same budget, it is compared with."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    purpose: Purpose = "research"
    legal_basis: LegalBasis | None = None

    @property
    def keeps(self) -> dict[str, bool | float | str]:
        """What a silo keeps of its own between rounds, field for field the pipelines' ``Keeping``."""
        return {
            "own": self.gate is not None,
            "personal": self.personal.name,
            "strength": self.personal.strength if isinstance(self.personal, Ditto) else 0.0,
            "control": isinstance(self.strategy, Scaffold),
            "alone": self.evaluation.alone,
        }

    @model_validator(mode="after")
    def _consistent(self) -> "StudyPlan":
        if len(set(self.silos)) != len(self.silos):
            raise ValueError("a silo is named twice")
        if self.quorum > len(self.silos):
            raise ValueError("the quorum is larger than the number of silos")
        if self.decentralised and {member.silo_id for member in self.decentralised.members} != set(self.silos):
            raise ValueError("the graph has other silos than the plan")
        return self


class RoundTask(Message):
    """One silo's part of one round: validate the global model and, unless ``validate_only``, train from it.

    ``weights`` is a safetensors file of the global model's float tensors. The answer is a safetensors file of the
    same names, shapes and dtypes holding the *difference* trained minus global.
    """

    kind: Literal["round"] = "round"
    study_id: Identifier
    plan: StudyPlan
    plan_digest: Digest
    round: Annotated[int, Field(ge=1, le=10_001)]
    validate_only: bool
    cohort: Fingerprint
    weights: BlobReference
    evaluate: bool = True
    """Whether the site scores the global model in this round; one that only validates always does."""

    control: BlobReference | None = None
    """The hub's control variate, a file like ``weights``, where the strategy has one; none is nought."""

    level: Name | None = None
    """The compression level the hub and this silo agree on, never one that loses more than the plan's; None is the
    plan's own."""

    standing: Annotated[int, Field(ge=0, le=10_001)] = 0
    """The last round whose update of this silo is part of ``weights``; 0 where there is none.

    What a silo keeps of its own goes on from what it had after that round, so an update that was lost, came late or
    was rolled back leaves no trace in it either.
    """

    neighbours: Annotated[tuple[Neighbour, ...], Field(max_length=1000)] = ()
    """In a decentralised study: ``weights`` are then the common first model."""

    best: Annotated[int, Field(ge=0, le=10_001)] = 0
    """The round of the best model so far; a site does not forget what it kept in that round."""


class SiteScore(Message):
    """The primary metric of the round's incoming global model on a site's validation cases, rounded."""

    metric: Name
    value: Annotated[float, Field(ge=0, le=1000)] | None
    reason: Code | None = None
    cases: Count


class RoundReport(Message):
    """A silo's signed answer to a round. ``update`` is absent where the round only validated.

    There is no field for a weight: the hub weighs by the registered cohort.
    """

    task_id: Identifier
    study_id: Identifier
    silo_id: Identifier
    round: Annotated[int, Field(ge=1, le=10_001)]
    plan_digest: Digest
    base: Digest
    cohort: Fingerprint
    update: BlobReference | None
    """The file of differences; in a decentralised study the sealed model."""

    sent_as: Name | None = None
    """The compression level of the file; None from a silo that does not negotiate and sent it as the plan asks."""

    exchange: Exchange | None = None
    """In a decentralised study only."""

    score: SiteScore
    train_seconds: Seconds
    verdict: Verdict | None = None
    """What the site makes of the incoming global model, where the plan has a gate."""

    personal: SiteScore | None = None
    """The site's own model of the last round that stands, on the same cases, where the plan has one."""

    alone: SiteScore | None = None
    """The model that saw this site only, on the same cases, where the plan asks for one."""


def judged(plan: StudyPlan, score: SiteScore, personal: SiteScore | None) -> SiteScore:
    """Return the score a global model is judged by at a site: with FedBN that of the model with the site's own layers.

    Without them nobody would use it.
    """
    return personal if isinstance(plan.personal, FedBN) and personal is not None else score


class StudyConsentRequest(Message):
    """What a silo is asked to agree to, whole, before any task of the study can reach it."""

    association_id: Identifier
    study_id: Identifier
    requested_by: Title
    organisation: Title
    plan: StudyPlan
    hub_public_key: PublicKey
