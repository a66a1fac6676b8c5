"""A study in one process, without a hub: the same rules, optimisers, gates and local training, for tuning a plan.

Sites, seeds and weights being the same, and the silos' ids sorting in the same order, every global model has the same
bytes as the federation's on this machine: both drive the same fold over the same update files, and both ask the same
functions whether a model stands. What a buffered study does depends on who answers when, so there the order of the
arrivals belongs to what has to be the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from federation_hub.aggregation.checks import verify_update
from federation_hub.aggregation.decoding import unpack
from federation_hub.aggregation.fold import FoldedModel, Update, fold, moment_path
from federation_hub.aggregation.group_means import plain_means
from federation_hub.aggregation.layout import read_layout
from federation_hub.aggregation.optimisers import CONTROL
from federation_hub.aggregation.private_mean import PrivateMean
from federation_hub.client.arrivals import Arrivals
from federation_hub.studies.course import Scored, Told, best_of, judge, keeps_best
from federation_hub.studies.rules import ATTEMPTS_A_ROUND
from pipelines.compression.feedback import compress_round
from pipelines.compression.files import compress
from pipelines.job import Mixed, Neighbourhood
from silo_node.wire.compression import KEEPS_A_RESIDUAL, agreed, fraction_of
from silo_node.wire.course import Buffered, Verdict, discount, is_scored
from silo_node.wire.digests import digest_bytes, hex_part
from silo_node.wire.errors import IntegrityError, MedSiloError
from silo_node.wire.privacy import SiloPrivacy
from silo_node.wire.strategies import FLTrust, sites_needed
from silo_node.wire.studies import StudyPlan


@dataclass(frozen=True)
class Ask:
    """What a site is asked in a round; see the wire's ``RoundTask``."""

    weights: Path
    round: int
    validate_only: bool = False
    evaluate: bool = True
    control: Path | None = None
    standing: int = 0
    neighbourhood: Neighbourhood | None = None
    best: int = 0


@dataclass(frozen=True)
class Answer:
    """A site's update file, or None, and its scores of the incoming global model and of what it keeps of its own."""

    update: Path | None
    value: float | None
    cases: int = 1
    verdict: Verdict | None = None
    shared: float | None = None
    personal: float | None = None
    alone: float | None = None
    mixed: Mixed | None = None

    @property
    def told(self) -> Told:
        """What counts of it for the study's course."""
        return Told(self.value, self.cases, self.verdict)


Trainer = Callable[[Ask], Answer]


@dataclass(frozen=True)
class SimulatedSite:
    """A site of a simulation: the weight is its number of training cases."""

    silo_id: str
    weight: int
    train: Trainer


@dataclass(frozen=True)
class SimulatedModel:
    """A global model: the round that made it, its file and digest, and the moments that belong to it."""

    made: int
    path: Path
    folded: FoldedModel | None = None
    counted: int = 0

    @property
    def moments(self) -> dict[str, Path]:
        """The files of the optimiser's moments."""
        return {name: moment_path(self.path, name) for name in self.folded.moments} if self.folded else {}


@dataclass(frozen=True)
class SimulatedRound:
    """One attempt at a round: the model it started from and what every site told of it, and the model it made."""

    number: int
    base: SimulatedModel
    answers: dict[str, Answer]
    score: float | None
    model: SimulatedModel | None


@dataclass
class Simulation:
    """A finished simulation: every attempt at a round in order, and the model a study would register."""

    rounds: list[SimulatedRound] = field(default_factory=list)
    final: SimulatedModel | None = None
    rolled_back: list[int] = field(default_factory=list)
    """Rounds whose models were vetoed."""

    stopped_early: bool = False

    @property
    def committed(self) -> list[SimulatedModel]:
        """The models that rounds made, in order, also those that were rolled back."""
        return [entry.model for entry in self.rounds if entry.model is not None]


def simulate(
    plan: StudyPlan,
    start: Path,
    sites: Sequence[SimulatedSite],
    folder: Path,
    *,
    higher: bool = True,
    arrivals: Arrivals | None = None,
) -> Simulation:
    """Run a plan's rounds over these sites; files lie in ``folder``.

    ``higher`` tells whether a higher score is better. ``arrivals`` says in which order a buffered study's updates
    come. Raises ``quorum-missed`` where a round has too few sound updates: trying again would change nothing here.
    """
    run = _Run(plan, sites, folder, SimulatedModel(0, start), higher, arrivals)
    for number in range(1, plan.rounds + 1):
        if not run.round(number):
            run.done.stopped_early = True
            break
    else:
        run.validate(plan.rounds + 1)
    run.done.final = run.chosen()
    return run.done


class _Run:
    def __init__(
        self,
        plan: StudyPlan,
        sites: Sequence[SimulatedSite],
        folder: Path,
        start: SimulatedModel,
        higher: bool,
        arrivals: Arrivals | None,
    ) -> None:
        self._plan, self._folder, self._higher = plan, folder, higher
        self._sites = {site.silo_id: site for site in sorted(sites, key=lambda site: site.silo_id)}
        self._models, self._base = {0: start}, start
        self._standing: list[Scored] = []
        self._folded: list[tuple[int, str, int]] = []
        self._bases: dict[int, SimulatedModel] = {}
        self._at_work: dict[str, int] = {}
        self._private = simulated_noise(plan)
        self._arrivals = arrivals or Arrivals.together(list(self._sites), plan.quorum)
        self.done = Simulation()

    def round(self, number: int) -> bool:
        """Make the next global model; False where the stop rule is met."""
        for attempt in range(1, ATTEMPTS_A_ROUND + 1):
            self._bases[number] = self._base
            answers = self._ask(number)
            updates = self._updates(number, answers)
            _require_quorum(self._plan, updates)
            fresh = {silo_id: answer for silo_id, (started, answer) in answers.items() if started == number}
            outcome, score = self._judge(fresh, {update.silo_id for update in updates})
            if outcome == "close":
                self._note(number, fresh, score, self._fold(number, attempt, updates))
                self._folded += [(number, update.silo_id, answers[update.silo_id][0]) for update in updates]
                return True
            self._note(number, fresh, score, None)
            if outcome == "stop":
                return False
        raise MedSiloError("model-vetoed")

    def validate(self, number: int) -> None:
        """Let the sites score the last model."""
        answers = {silo_id: site.train(self._asking(silo_id, number, True)) for silo_id, site in self._sites.items()}
        base = self._base
        _, score = self._judge(answers, set(answers))
        self.done.rounds.append(SimulatedRound(number, base, answers, score, None))

    def chosen(self) -> SimulatedModel:
        """Return the model a study would register."""
        best = best_of(self._standing, higher=self._higher) if keeps_best(self._plan) else None
        return self._base if best is None else self._models[best.made]

    def _ask(self, number: int) -> dict[str, tuple[int, Answer]]:
        """Return the answers that fill a round, with the round each started from; all, unless it is buffered."""
        if not isinstance(self._plan.schedule, Buffered):
            return {
                silo_id: (number, site.train(self._asking(silo_id, number, False)))
                for silo_id, site in self._sites.items()
            }
        oldest = number - self._plan.schedule.max_staleness
        at_work = {silo_id: started for silo_id, started in self._at_work.items() if started >= oldest}
        self._at_work = {silo_id: at_work.get(silo_id, number) for silo_id in self._sites}
        arriving = self._arrivals.next(number, self._at_work)
        for silo_id in arriving:
            del self._at_work[silo_id]
        return {
            silo_id: (started, self._sites[silo_id].train(self._asking(silo_id, started, False)))
            for silo_id, started in arriving.items()
        }

    def _asking(self, silo_id: str, number: int, validate_only: bool) -> Ask:
        """Return what a silo was asked when it began, which in a buffered study may be some rounds ago."""
        base = self._bases.get(number, self._base)
        stood = [
            started
            for made, silo, started in self._folded
            if silo == silo_id and made in self._models and made < number
        ]
        return Ask(
            weights=base.path,
            round=number,
            validate_only=validate_only,
            evaluate=validate_only or is_scored(self._plan.evaluation, self._plan.rounds, base.made),
            control=base.moments.get(CONTROL),
            standing=max(stood, default=0),
            best=best.made if (best := best_of(self._standing, higher=self._higher)) else 0,
        )

    def _updates(self, number: int, answers: dict[str, tuple[int, Answer]]) -> list[Update]:
        plan, base = self._plan, self._base.path
        received = {
            silo_id: _received(answer.update, silo_id, started, base, plan, self._folder)
            for silo_id, (started, answer) in answers.items()
            if answer.update is not None
        }
        return [
            Update(
                silo_id,
                path,
                self._sites[silo_id].weight,
                discount(plan.schedule, number - answers[silo_id][0]),
                plan.local.steps(self._sites[silo_id].weight),
            )
            for silo_id, path in received.items()
            if _sound(path, base, plan.norm_bound)
        ]

    def _judge(self, answers: dict[str, Answer], counted: set[str]) -> tuple[str, float | None]:
        told = [answer.told for silo_id, answer in answers.items() if silo_id in counted]
        if not any(site.value is not None or site.verdict is not None for site in told):
            return "close", None
        made = self._base.made
        judgement = judge(self._plan, made, told, self._standing, higher=self._higher)
        if judgement.outcome == "roll-back":
            revoked = [model for model in self._models if model > judgement.restore]
            self.done.rolled_back += revoked
            self._models = {model: found for model, found in self._models.items() if model not in revoked}
            self._standing = [model for model in self._standing if model.made in self._models]
            self._base = self._models[judgement.restore]
        else:
            earlier = [model for model in self._standing if model.made != made]
            self._standing = sorted([*earlier, Scored(made, judgement.score)], key=lambda model: model.made)
        return judgement.outcome, judgement.score

    def _fold(self, number: int, attempt: int, updates: Sequence[Update]) -> SimulatedModel:
        plan, out = self._plan, self._folder / f"round{number}.{attempt}.safetensors"
        counted = len(updates)
        if plan.secure_aggregation is not None:
            updates = plain_means(updates, plan, self._base.path, out)
            if len(updates) < sites_needed(plan.robust):
                raise MedSiloError("quorum-missed")
        folded = fold(
            self._base.path,
            updates,
            out,
            strategy=plan.strategy,
            robust=plan.robust,
            moments=self._base.moments,
            population=sum(site.weight for site in self._sites.values()),
            rate=plan.local.learning_rate,
            private=self._private,
        )
        self._private = self._private.next() if self._private else None
        return SimulatedModel(number, out, folded, counted)

    def _note(self, number: int, answers: dict[str, Answer], score: float | None, made: SimulatedModel | None) -> None:
        self.done.rounds.append(SimulatedRound(number, self._base, answers, score, made))
        if made is not None:
            self._models[number] = self._base = made


def _received(update: Path, silo_id: str, number: int, base: Path, plan: StudyPlan, folder: Path) -> Path:
    """Return an update as the hub gets it: compressed and unpacked by the plan, with the site's own residual."""
    compression = agreed(plan.compression, None)
    if compression.level == "none":
        return update
    sent, out = folder / f"{silo_id}.update", folder / f"{silo_id}.received"
    if compression.level in KEEPS_A_RESIDUAL:
        residuals = folder / f"{silo_id}.residuals"
        compress_round(update, sent, compression.level, fraction_of(compression), residuals, number)
    else:
        compress(update, sent, compression.level)
    unpack(sent, base, out, compression)
    return out


def _sound(update: Path, base: Path, norm_bound: float | None) -> bool:
    try:
        verify_update(update, read_layout(base), norm_bound=norm_bound)
    except IntegrityError:
        return False
    return True


def _require_quorum(plan: StudyPlan, updates: Sequence[Update]) -> None:
    root = plan.robust.root if isinstance(plan.robust, FLTrust) else None
    if len(updates) < plan.quorum or (root is not None and root not in {update.silo_id for update in updates}):
        raise MedSiloError("quorum-missed")


def simulated_noise(plan: StudyPlan) -> PrivateMean | None:
    """Return the hub's noise, as much as a real one's but from the plan's seed, so that it hides nothing."""
    if not isinstance(plan.privacy, SiloPrivacy):
        return None
    from pipelines.privacy.randomness import SecretRandomness

    key = bytes.fromhex(hex_part(digest_bytes(f"{plan.seed} hub".encode())))
    return PrivateMean.of(plan, plan.privacy.clipping_norm, SecretRandomness(key))
