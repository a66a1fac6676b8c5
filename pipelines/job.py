"""The jobs the sandbox can be given, and the lines it answers with. Nothing here loads torch.

A job is one JSON file. A batch job (prepare, evaluate, check) runs to its end; a training session reads one command a
line on standard input until ``stop`` or the end of the file. Standard output carries one event a line and nothing else;
what is meant for a person goes to standard error, which stays in the site's own log.

Exit status: 0 done; 1 an ``error`` event was printed; 2 the job file itself could not be read.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pipelines.container import ContainerModel
from pipelines.errors import PipelineError
from pipelines.question import InputSpec, TaskKind, TransformSpec, Value, first_field

Threads = Annotated[int, Field(ge=1, le=64)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
ModelDigest = Annotated[str, Field(pattern=r"^blake3:[0-9a-f]{64}$")]
DefinitionJson = dict[str, Any]
"""A wire ``BenchmarkDefinition`` as ``model_dump(mode="json")`` gives it."""


class LocalTraining(Value):
    """What a silo does with the global model in a round; field for field the wire's ``LocalTraining``."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = 1
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 2e-3
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    augment: bool = False
    max_steps: Annotated[int, Field(ge=1, le=10**7)] | None = None
    proximal: Annotated[float, Field(ge=0, le=1000)] = 0.0
    normalise_to: Annotated[int, Field(ge=1, le=10**7)] | None = None


class LocalPrivacy(Value):
    """What makes a silo's training private; worked out at the site, outside the jail, and booked before it runs."""

    noise_multiplier: Annotated[float, Field(gt=0, le=1e5)]
    """Standard deviation of a step's noise over the clipping norm."""

    rate: Annotated[float, Field(gt=0, le=1)]
    """The probability with which a patient takes part in a step."""

    steps: Annotated[int, Field(ge=1, le=10**7)]
    """Steps of a round."""

    clipping_norm: Annotated[float, Field(gt=0, le=1e6)]
    clipping_quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    images_per_patient: Annotated[int, Field(ge=1, le=1000)] = 4
    noise_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """For simulations, which promise nobody anything; without it the noise is the operating system's secret."""


class Keeping(Value):
    """What a silo keeps of its own between the rounds of a study."""

    own: bool = False
    """The model it trained, to go on from where it refuses the global one."""

    personal: Literal["none", "fedbn", "ditto"] = "none"
    strength: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """How strongly Ditto holds the personal model near the global one."""

    control: bool = False
    """SCAFFOLD's control variate."""

    alone: bool = False
    """A model that never sees another silo."""


class PrepareJob(Value):
    """Turn raw cases into prepared ones: ``raw/<case>/`` in, ``out/cases/<case>.safetensors`` out.

    Also writes ``out/prepared.json``: ``{"cases": [{"case", "label"}], "refused": [{"case", "code"}]}``, by case.
    A case that cannot be prepared is refused with a code and the others go on.
    """

    kind: Literal["prepare"] = "prepare"
    raw: Path
    out: Path
    task: TaskKind
    labels: tuple[str, ...]
    input: InputSpec
    preparation: tuple[TransformSpec, ...]
    threads: Threads = 1


class ModelFile(Value):
    """A model to evaluate: its digest and where its bundle lies inside the sandbox."""

    digest: ModelDigest
    path: Path
    answers: Path | None = None
    """The folder with the answers of a model of tier 3, which ran elsewhere; see :mod:`pipelines.answers`."""

    seconds: Annotated[float, Field(ge=0)] = 0.0
    """What that run took a case, as the node measured it."""

    @property
    def hex(self) -> str:
        """The digest's hexadecimal digits, as used in file names."""
        return self.digest.rpartition(":")[2]


class EvaluateJob(Value):
    """Score every model on every case of a split. Appends to ``out/scores/<hex>.jsonl``; ends with ``out/done.json``.

    Started again with the same ``out`` it goes on at the first case without a line.
    """

    kind: Literal["evaluate"] = "evaluate"
    cohort: Path
    split: Literal["train", "validation", "test"] = "test"
    definition: DefinitionJson
    models: Annotated[tuple[ModelFile, ...], Field(min_length=1, max_length=50)]
    out: Path
    threads: Threads = 1
    seed: Seed = 0


class StageJob(Value):
    """Lay out the test images for a model that runs elsewhere, and nothing but them; see :mod:`pipelines.answers`."""

    kind: Literal["stage"] = "stage"
    cohort: Path
    split: Literal["train", "validation", "test"] = "test"
    definition: DefinitionJson
    bundle: Path
    out: Path
    threads: Threads = 1


class TrainSession(Value):
    """A silo's part in a study: one process over all rounds, commands on standard input."""

    kind: Literal["train"] = "train"
    cohort: Path
    definition: DefinitionJson
    bundle: Path
    local: LocalTraining
    privacy: LocalPrivacy | None = None
    out: Path
    exchange: Path
    keeps: Keeping = Keeping()
    state: Path | None = None
    """The folder of what it keeps; it outlives the session."""

    threads: Threads = 1
    seed: Seed = 0


class CheckJob(Value):
    """Build a bundle's network, load its weights exactly and run it once on zeros. Writes ``out/check.json``."""

    kind: Literal["check"] = "check"
    bundle: Path
    definition: DefinitionJson | None = None
    out: Path
    threads: Threads = 1


class PredictJob(Value):
    """Answer one raw case with one segmentation model: ``raw/`` is its folder. Writes ``out/label.safetensors``.

    The label map lies on the case's own voxels, not on the prepared ones.
    """

    kind: Literal["predict"] = "predict"
    raw: Path
    bundle: Path
    definition: DefinitionJson
    out: Path
    threads: Threads = 1


class InspectJob(Value):
    """Judge bundles without building anything: no torch, no case. Writes ``out/inspected.json``.

    The file holds one verdict a model, in their order: ``{"models": [{"digest", "code", "tier"}]}`` where ``code`` is
    null for a sound bundle and ``tier`` is null for one that is not.
    """

    kind: Literal["inspect"] = "inspect"
    definition: DefinitionJson | None = None
    models: Annotated[tuple[ModelFile, ...], Field(min_length=1, max_length=100)]
    out: Path
    threads: Threads = 1


Job = Annotated[
    PrepareJob | EvaluateJob | StageJob | TrainSession | CheckJob | PredictJob | InspectJob,
    Field(discriminator="kind"),
]


class Verdict(Value):
    """What a static look said of one bundle: a refusal's code, or its tier."""

    digest: ModelDigest
    code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{2,59}$")] | None
    tier: Annotated[int, Field(ge=1, le=3)] | None
    container: ContainerModel | None = None
    """What would be run of a model of tier 3."""


class Inspected(Value):
    """The whole of ``inspected.json``."""

    models: Annotated[tuple[Verdict, ...], Field(max_length=100)]


class Mixing(Value):
    """How a site mixes its own model with its neighbours': a rule of :mod:`pipelines.neighbours.rules` by name."""

    name: Literal["gossip", "balance", "ubar", "self_centred_clipping"]
    gamma: Annotated[float, Field(gt=0, le=1e6)] | None = None
    kappa: Annotated[float, Field(ge=0, le=100)] = 1.0
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.5
    honest: Annotated[float, Field(gt=0, lt=1)] = 0.6
    liars: Annotated[int, Field(ge=1, le=499)] = 1


class Neighbourhood(Value):
    """What a round of a decentralised study begins with: weights files of the neighbours, and how they are mixed."""

    mixing: Mixing
    beside: Annotated[tuple[Path, ...], Field(max_length=1000)]
    progress: Annotated[float, Field(ge=0, le=1)]


class RoundCommand(Value):
    """Validate the model in ``weights`` and, unless ``validate_only``, train from it.

    With a neighbourhood ``weights`` is the site's own model; it is mixed first, and the answer's file holds the whole
    model afterwards, not a difference.
    """

    command: Literal["round"] = "round"
    round: Annotated[int, Field(ge=1, le=10_001)]
    weights: Path
    validate_only: bool = False
    evaluate: bool = True
    control: Path | None = None
    """The hub's control variate."""

    standing: Annotated[int, Field(ge=0, le=10_001)] = 0
    """The round whose keepings this one goes on from; 0 for none."""

    best: Annotated[int, Field(ge=0, le=10_001)] = 0
    """The round of the best model so far, whose keepings stay; 0 for none."""

    reference: float | None = None
    """The best score of a global model that was accepted here, where there is a gate."""

    tolerance: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """A global model worse than ``reference`` by more than this is not trained on from."""

    higher: bool = True
    """Whether a higher score is the better one."""

    neighbourhood: Neighbourhood | None = None


class StopCommand(Value):
    """End the session."""

    command: Literal["stop"] = "stop"


Command = Annotated[RoundCommand | StopCommand, Field(discriminator="command")]


class ReadyEvent(Value):
    """The session has its model and data and waits for a command."""

    event: Literal["ready"] = "ready"


class ProgressEvent(Value):
    """How far the work has come, in counts: cases of all models (evaluate), cases (prepare), steps (train)."""

    event: Literal["progress"] = "progress"
    done: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=0)]


class Score(Value):
    """The primary metric of the incoming global model on the validation split; ``reason`` where there is no value."""

    metric: str
    value: float | None
    reason: str | None = None
    cases: Annotated[int, Field(ge=0)]


class Mixed(Value):
    """How far the site moved towards each neighbour, and the gamma that decided, where the rule has one."""

    pulls: tuple[Annotated[float, Field(ge=0, le=1)], ...]
    gamma: float | None


class RoundEvent(Value):
    """A round's answer. ``update`` is a safetensors file of trained minus global, or absent when only validating.

    In a decentralised study it is always there and holds the whole model.
    """

    event: Literal["round"] = "round"
    round: int
    update: Path | None
    score: Score
    train_seconds: Annotated[float, Field(ge=0)]
    personal: Score | None = None
    alone: Score | None = None
    mixed: Mixed | None = None


class DoneEvent(Value):
    """A batch job has ended and its files are complete."""

    event: Literal["done"] = "done"


class ErrorEvent(Value):
    """A coded failure. In a training session the next command is still read; a batch job ends."""

    event: Literal["error"] = "error"
    code: str


Event = Annotated[
    ReadyEvent | ProgressEvent | RoundEvent | DoneEvent | ErrorEvent,
    Field(discriminator="event"),
]

_JOB: TypeAdapter[Job] = TypeAdapter(Job)
_COMMAND: TypeAdapter[Command] = TypeAdapter(Command)
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def read_job(path: Path) -> Job:
    """Read a job file; raises ``malformed-message``, or ``file-missing``."""
    try:
        return _JOB.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise PipelineError("file-missing", path.name) from None
    except ValidationError as error:
        raise PipelineError("malformed-message", f"job field {first_field(error)}") from None


def read_command(line: str | bytes) -> Command:
    """Read one command line; raises ``malformed-message``."""
    try:
        return _COMMAND.validate_json(line)
    except ValidationError as error:
        raise PipelineError("malformed-message", f"command field {first_field(error)}") from None


def read_event(line: str | bytes) -> Event:
    """Read one line of a worker's standard output; raises ``malformed-message``.

    What comes out of the sandbox is untrusted: the node uses this and nothing looser.
    """
    try:
        return _EVENT.validate_json(line)
    except ValidationError as error:
        raise PipelineError("malformed-message", f"event field {first_field(error)}") from None
