"""A study's plan as a researcher writes it, and the exact plan the hub and the silos agree to.

The file names things as people do (``chest_phantom``, a silo's name); the plan names them by digest and id, so that
nobody can change quietly what was agreed.
"""

import difflib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from federation_hub.client.graphs import GraphFile, drawn
from federation_hub.client.hub import Hub, Record
from federation_hub.studies.fitting import require_fit
from silo_node.wire.base import Digest, Name, Title
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.compression import Compression, Half, Uncompressed
from silo_node.wire.course import Evaluation, Gate, InRounds, Schedule
from silo_node.wire.errors import BadInput, ConfigError
from silo_node.wire.masking import Member, SecureAggregation
from silo_node.wire.models import ModelReference
from silo_node.wire.neighbours import Decentralised
from silo_node.wire.privacy import Privacy
from silo_node.wire.soundness import first_fault
from silo_node.wire.strategies import Combination, FedAvg, Mean, Personalisation, Scaffold, Shared, Strategy
from silo_node.wire.studies import LocalTraining, StudyPlan


class PlanFile(BaseModel):
    """``plan.toml``: what a researcher decides about a study. Times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    name: Name
    title: Title
    benchmark: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,39}(@[1-9][0-9]{0,3})?$")]
    """A benchmark's name, or ``name@version`` for another version than the newest."""

    model: Digest
    """The accepted model to start from."""

    silos: Annotated[tuple[str, ...], Field(min_length=1, max_length=1000)]
    """Names or ids of the silos to ask."""

    rounds: Annotated[int, Field(ge=1, le=10_000)] = 3
    quorum: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Verified updates a round needs; by default one from every silo."""

    deadline_seconds: Annotated[int, Field(ge=1, le=30 * 86_400)] = 3600
    strategy: Strategy = FedAvg()
    """A name, or a table with the name and its parameters."""

    robust: Combination = Mean()
    """A name, or a table with the name and its parameters."""

    norm_bound: Annotated[float, Field(gt=0, le=1e12)] | None = None
    secure_aggregation: SecureAggregation | None = None
    """A table, which may be empty: the hub then sees sums of updates only."""

    decentralised: GraphFile | None = None
    """A table, which may be empty: no global model; each silo keeps its own and mixes it with its neighbours'."""

    compression: Compression | None = None
    """A level, or a table with the level and its parameters; by default ``half``, ``none`` where every bit counts."""

    baseline: Literal["fedavg"] | Annotated[str, Field(pattern=r"^study-[0-9a-z]{6,32}$")] | None = None
    """``fedavg``: a second study by plain federated averaging, to compare with, is created with this one; or the id of
    one that was made before."""

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    local: LocalTraining = LocalTraining()
    privacy: Privacy | None = None
    """What a patient or a silo is promised: a table with its ``unit`` and ``epsilon``."""

    personal: Personalisation = Shared()
    schedule: Schedule = InRounds()
    evaluation: Evaluation = Evaluation()
    gate: Gate | None = None


def read_plan(path: Path) -> PlanFile:
    """Read a plan file.

    Raises ``BadInput`` where there is none, ``ConfigError`` with the key's name where a key is unknown or wrong.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput("file-missing", str(path)) from error
    except ValueError as error:
        raise ConfigError("plan-invalid", f"{path} is not readable TOML") from error
    for key in sorted(set(table) - set(PlanFile.model_fields)):
        near = difflib.get_close_matches(key, PlanFile.model_fields, n=1)
        raise ConfigError("config-unknown-key", f"{key} in {path}" + (f"; did you mean {near[0]}?" if near else ""))
    try:
        return PlanFile.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ConfigError("plan-invalid", f"{'.'.join(map(str, first['loc']))} in {path}: {first['msg']}") from error


def resolve_plan(plan: PlanFile, hub: Hub) -> StudyPlan:
    """Look up what a plan file names and return the exact plan.

    Raises ``WireError`` where the hub knows no such benchmark or model, ``BadInput`` where it knows no such silo, the
    numbers do not fit together or the plan cannot hold what it promises.
    """
    name, _, version = plan.benchmark.partition("@")
    benchmark = hub.benchmark(name, int(version) if version else None)
    model = hub.model(plan.model)
    reference = BenchmarkReference(name=name, version=benchmark["definition"]["version"], digest=benchmark["digest"])
    start = ModelReference(digest=model["digest"], size=model["size"])
    silo_ids = _silo_ids(plan.silos, hub.silos())
    exact = exact_plan(plan, reference, start, silo_ids, _signing_keys(plan, silo_ids, hub))
    if summary := model["summary"]:
        require_fit(exact, summary["network"], summary["arguments"])
    return exact


def exact_plan(
    plan: PlanFile,
    benchmark: BenchmarkReference,
    model: ModelReference,
    silos: tuple[str, ...],
    members: tuple[Member, ...] = (),
) -> StudyPlan:
    """Return the plan of a study over these silos; ``members`` are their signing keys, where the plan names them.

    Raises ``BadInput`` with ``plan-invalid`` or a code of :mod:`silo_node.wire.soundness`.
    """
    try:
        exact = StudyPlan(
            name=plan.name,
            title=plan.title,
            benchmark=benchmark,
            model=model,
            silos=silos,
            rounds=plan.rounds,
            quorum=len(silos) if plan.quorum is None else plan.quorum,
            deadline_seconds=plan.deadline_seconds,
            strategy=plan.strategy,
            robust=plan.robust,
            local=plan.local,
            personal=plan.personal,
            schedule=plan.schedule,
            evaluation=plan.evaluation,
            gate=plan.gate,
            norm_bound=plan.norm_bound,
            privacy=plan.privacy,
            compression=plan.compression or _level(plan),
            secure_aggregation=_with_members(plan.secure_aggregation, members),
            decentralised=_graph(plan, silos, members),
            baseline=None if plan.baseline == "fedavg" else plan.baseline,
            seed=plan.seed,
        )
    except ValidationError as error:
        raise BadInput("plan-invalid", str(error.errors(include_input=False)[0]["msg"])) from error
    if (fault := first_fault(exact)) is not None:
        raise BadInput(fault.code, fault.detail)
    return exact


def plan_text(*, name: str, benchmark: str, model: str, silos: list[str], rounds: int) -> str:
    """Return a plan file with these values and everything else at its default, written out to be changed."""
    local, evaluation, gate = LocalTraining(), Evaluation(), Gate()
    quoted = ", ".join(json.dumps(silo, ensure_ascii=False) for silo in silos)
    return f"""\
name = {json.dumps(name)}
title = {json.dumps(name.replace("_", " ").capitalize())}
benchmark = {json.dumps(benchmark)}
model = {json.dumps(model)}
silos = [{quoted}]
rounds = {rounds}
# quorum = {len(silos)}             # verified updates a round needs; by default one from every silo
deadline_seconds = 3600
# norm_bound = 10.0      # the largest L2 norm an update may have
strategy = "fedavg"      # or fedavgm, fedadagrad, fedadam, fedyogi, scaffold, with parameters in a table [strategy]
robust = "mean"          # or median, trimmed_mean, krum, ... with parameters in a table [robust]
personal = "none"        # or fedbn, ditto: what a silo keeps of its own
schedule = "rounds"      # or buffered: nobody waits for the slowest
compression = "half"     # or none, lossless, int8, topk with a fraction in a table [compression]
seed = 0
# baseline = "fedavg"    # also run plain federated averaging, as a study of its own, to compare with

# [decentralised]        # no global model: silos show each other sealed models
# degree = 2             # neighbours of each silo; or edges = [["A", "B"], ...]
# rule = "balance"       # or ubar, self_centred_clipping, gossip

# [secure_aggregation]   # the hub sees sums over at least three silos, and no single update
# word_bits = 32         # 16: half the bytes, in coarser steps of largest_change
# groups = 1             # one sum a group; a robust rule needs as many groups as it needs sites

[local]
epochs = {local.epochs}
batch_size = {local.batch_size}
optimiser = "{local.optimiser}"
learning_rate = {local.learning_rate}
augment = {str(local.augment).lower()}

# [privacy]              # differential privacy; see docs/explanation/privacy.md
# unit = "patient"       # noise in the silos' training; or "silo": noise at the hub
# epsilon = 8.0
# delta = 1e-5
# clipping_norm = 1.0
[evaluation]
every = {evaluation.every}                # rounds between two scores of the global model at the sites
keep = "{evaluation.keep}"            # or last: which of the scored models is registered
# patience = 5           # stop after so many scored models that are no better
alone = {str(evaluation.alone).lower()}            # true: also train at each site alone, to compare

# [gate]                 # a site may refuse a model that is worse there
# tolerance = {gate.tolerance}
# veto = {gate.veto}
# vetoes = {gate.vetoes}
"""


def _level(plan: PlanFile) -> Half | Uncompressed:
    """Return what is right where the file names no level: masks, seals and control variates need every bit."""
    exact = plan.secure_aggregation or plan.decentralised or isinstance(plan.strategy, Scaffold)
    return Uncompressed() if exact else Half()


def _with_members(masking: SecureAggregation | None, members: tuple[Member, ...]) -> SecureAggregation | None:
    return masking.model_copy(update={"members": members}) if masking is not None else None


def _graph(plan: PlanFile, silos: tuple[str, ...], members: tuple[Member, ...]) -> Decentralised | None:
    if plan.decentralised is None:
        return None
    names = plan.silos if len(plan.silos) == len(silos) else silos  # a simulation has silos of its own
    return drawn(plan.decentralised, dict(zip(names, silos, strict=True)), members, plan.seed)


def _signing_keys(plan: PlanFile, silo_ids: tuple[str, ...], hub: Hub) -> tuple[Member, ...]:
    """Return the key each silo signs with now, where the plan has to name them."""
    if plan.secure_aggregation is None and plan.decentralised is None:
        return ()
    return tuple(Member(silo_id=silo_id, public_key=hub.signing_key(silo_id)) for silo_id in silo_ids)


def _silo_ids(wanted: tuple[str, ...], known: list[Record]) -> tuple[str, ...]:
    ids = {silo["silo_id"] for silo in known}
    by_name = {silo["name"]: silo["silo_id"] for silo in known}
    for silo in wanted:
        if silo not in ids and silo not in by_name:
            near = difflib.get_close_matches(silo, by_name, n=1)
            raise BadInput("plan-invalid", f"no silo {silo!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    return tuple(silo if silo in ids else by_name[silo] for silo in wanted)
