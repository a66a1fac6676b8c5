"""An evaluation at this site: which models, on which frozen cases, scored in the jail, told as an estimate block.

Models that were scored on this cohort before are not run again. The cohort is verified before the run and after it, and
what comes back from the jail is read with a strict schema. Statistics are the kit's own.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from blake3 import blake3
from pydantic import ValidationError

from pipelines.container import ContainerModel
from pipelines.job import EvaluateJob, ModelFile, Verdict
from pipelines.privacy.accounting import Mechanism
from silo_node import __version__
from silo_node.agent.claims import Claim
from silo_node.agent.contained import answer_binds, answer_in_container
from silo_node.agent.estimation import estimated
from silo_node.agent.holdings import Holding, find_holding, verify_holding
from silo_node.agent.judging import judge_models, model_binds, model_files
from silo_node.agent.node import Interrupted, Node, persist
from silo_node.agent.scores import adopt_partial, keep_scores, read_scores, scores_path
from silo_node.agent.serving import Serving
from silo_node.benchmarks import known_benchmark
from silo_node.cohorts.manifest import ManifestCase
from silo_node.hub import Hub
from silo_node.journal import Journal
from silo_node.policy import EvaluationRequest, decide_question, decide_spending, load_policy
from silo_node.policy.bits import block_bits
from silo_node.policy.budget import NOTHING, Ledger, Spent
from silo_node.policy.differencing import Told, decide_difference
from silo_node.policy.disclosure import stricter
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.sandbox import Bind
from silo_node.sandbox.work import WorkCancelled, run_job
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.digests import digest_bytes, hex_part
from silo_node.wire.errors import BadInput, MedSiloError, PolicyRefusal, SandboxUnavailable, WorkFailed
from silo_node.wire.estimates import EstimateBlock
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import EvaluationTask

SPLIT: Final = "test"


def evaluate(node: Node, hub: Hub, claim: Claim, body: EvaluationTask, journal: Journal) -> EstimateBlock:
    """Do one evaluation and return its block, unsigned; what it tells each owner is booked.

    A model that is refused is named in the block with its code, and the others are served. Where none is, raises what
    refuses the first: :class:`PolicyRefusal`, :class:`BadInput`, :class:`WorkFailed`. Besides,
    :class:`PolicyRefusal` for the whole, :class:`IntegrityError` ``cohort-changed``, ``cohort-unknown``; and
    :class:`Interrupted`, after which it goes on at the case where it stopped.
    """
    started, ledger = datetime.now(UTC), Ledger(journal)
    history = ledger.spent(besides=claim.task.task_id)
    holding = _permitted(node, body)
    serving = Serving(node, body, history)
    serving.ask_policy()
    longest = node.config.poll.backoff_seconds
    definition = persist(lambda: known_benchmark(node.home, body.benchmark, hub), claim.cancelled, longest)
    _refuse_difference(node, Told(journal), body, holding, definition)
    missing = [model for model in serving.models if not _kept(node, body, model).exists()]
    if missing:
        for model in missing:
            persist(partial(hub.fetch_model, model, node.home.bundles), claim.cancelled, longest)
        _permitted(node, body)
        _score_served(node, claim, body, holding, definition, serving, judge_models(node, missing, definition))
    block = _affordable(node, body, holding, definition, claim.task.task_id, started, serving, history, ledger)
    Told(journal).remember(body.benchmark.name, body.cohort, _patients(holding))
    PrivacyLedger(journal).book(
        holding.cohort_id, "test", _patients(holding), "evaluation", body.evaluation_id, Mechanism("none")
    )
    return block


def _permitted(node: Node, body: EvaluationTask) -> Holding:
    """Return the cohort, once the policy allows the evaluation whatever its models; asked again before they run."""
    holding = find_holding(node.home, body.cohort, body.benchmark)
    request = EvaluationRequest(body.benchmark.name, len(_cases(holding)) if holding else None, (), (), body.purpose)
    decision = decide_question(load_policy(node.home), request)
    if decision.code is not None or holding is None:
        raise PolicyRefusal(decision.code or "cohort-unknown", f"rule {decision.rule}: {decision.words}")
    return holding


def _refuse_difference(
    node: Node, told: Told, body: EvaluationTask, holding: Holding, definition: BenchmarkDefinition
) -> None:
    """Raise :class:`PolicyRefusal` where this report and an earlier one together would tell of few patients."""
    limits = stricter(definition.disclosure, load_policy(node.home).disclosure)
    others = told.others(body.benchmark.name, body.cohort)
    decision = decide_difference(limits.minimum_cell, _patients(holding), others)
    if decision.code is not None:
        raise PolicyRefusal(decision.code, f"rule {decision.rule}: {decision.words}")


def _affordable(
    node: Node,
    body: EvaluationTask,
    holding: Holding,
    definition: BenchmarkDefinition,
    task_id: str,
    started: datetime,
    serving: Serving,
    history: Mapping[str, Spent],
    ledger: Ledger,
) -> EstimateBlock:
    """Return the block and book what it tells each owner; models of one whose budget it would break are left out."""
    policy = load_policy(node.home)
    while True:
        block = _block(node, body, holding, definition, task_id, started, serving)
        each = block_bits(block.model_dump(mode="json")) / len(block.models)
        shares: dict[str, tuple[tuple[str, ...], float]] = {}
        for digest in block.models:
            models, bits = shares.get(serving.owner(digest), ((), 0.0))
            shares[serving.owner(digest)] = (*models, digest), bits + each
        over: dict[str, MedSiloError] = {}
        for owner, (models, bits) in shares.items():
            decision = decide_spending(policy, owner, history.get(owner, NOTHING), bits)
            if decision.code is not None:
                no = PolicyRefusal(decision.code, f"rule {decision.rule}: {decision.words}")
                over |= dict.fromkeys(models, no)
        if not over:
            ledger.book(block.task_id, shares)
            return block
        serving.refuse(over)


def score_in_jail(
    node: Node,
    claim: Claim,
    holding: Holding,
    definition: BenchmarkDefinition,
    models: Sequence[ModelReference],
    out: Path,
    containers: Mapping[str, ContainerModel] | None = None,
) -> None:
    """Run the models in one jail over the cohort's test cases; their score sheets are in ``out/scores`` afterwards.

    Raises :class:`Interrupted` where the task is no longer wanted, :class:`WorkFailed` where the work ended early.
    """
    with ExitStack() as stack:
        answered: dict[Path, ModelFile] = {}
        for model in models:
            if model.digest in (containers or {}):
                place = stack.enter_context(TemporaryDirectory(prefix="job-contained-", dir=node.home.scratch))
                container = (containers or {})[model.digest]
                file = answer_in_container(node, claim, holding, definition, model, container, Path(place))
                answered[Path(place)] = file
        _run(node, claim, holding, definition, models, out, answered)


def _run(
    node: Node,
    claim: Claim,
    holding: Holding,
    definition: BenchmarkDefinition,
    models: Sequence[ModelReference],
    out: Path,
    answered: Mapping[Path, ModelFile],
) -> None:
    given = {file.digest: file for file in answered.values()}
    files = tuple(given.get(file.digest, file) for file in model_files(models))
    job = EvaluateJob(
        cohort=Path("/cohort"),
        split=SPLIT,
        definition=definition.model_dump(mode="json"),
        models=files,
        out=Path("/out"),
        threads=node.config.threads,
    )
    binds = [*model_binds(node, files), *answer_binds(answered)]
    binds += [Bind(holding.folder, "/cohort"), Bind(out, "/out", writable=True)]
    try:
        run_job(
            node.sandbox,
            job,
            binds,
            node.limits(node.config.limits.evaluation_minutes),
            scratch=node.home.scratch,
            log=node.home.logs / "work" / f"{claim.task.task_id}.log",
            progress=claim.progress,
            cancelled=claim.cancelled,
        )
    except WorkCancelled:
        raise Interrupted from None


def _score_served(
    node: Node,
    claim: Claim,
    body: EvaluationTask,
    holding: Holding,
    definition: BenchmarkDefinition,
    serving: Serving,
    verdicts: Sequence[Verdict],
) -> None:
    """Score what the policy lets in of the judged models; one whose work fails is left out, where others are left."""
    bad = {one.digest: BadInput(one.code or "bundle-invalid") for one in verdicts if one.tier is None}
    serving.refuse(bad)
    serving.ask_policy({one.digest: one.tier for one in verdicts if one.tier is not None})
    contained = {one.digest: one.container for one in verdicts if one.container is not None}
    models = serving.only(one.digest for one in verdicts)
    together = [model for model in models if model.digest not in contained]
    runs = [together] if together else []
    runs += [[model] for model in models if model.digest in contained]
    while runs:
        run = runs.pop(0)
        try:
            _score(node, claim, body, holding, definition, run, contained)
        except (WorkFailed, SandboxUnavailable) as error:
            if len(run) == 1:
                serving.refuse({run[0].digest: error})
            # Whose fault it was shows when each runs alone; what was scored before is not scored again.
            runs += [[model] for model in run] if len(run) > 1 else []


def _score(
    node: Node,
    claim: Claim,
    body: EvaluationTask,
    holding: Holding,
    definition: BenchmarkDefinition,
    models: Sequence[ModelReference],
    containers: Mapping[str, ContainerModel],
) -> None:
    """Run the models in one jail over the cohort, and keep their scores."""
    verify_holding(node.home, holding)
    out, earlier = _out_folder(node, body, models)
    adopt_partial(earlier, out, [model.digest for model in models])
    score_in_jail(node, claim, holding, definition, models, out, containers)
    verify_holding(node.home, holding)
    for model in models:
        written = out / "scores" / f"{hex_part(model.digest)}.jsonl"
        keep_scores(read_scores(written, (case.case for case in _cases(holding))), _kept(node, body, model))
    for folder in (out, *earlier):
        shutil.rmtree(folder, ignore_errors=True)


def _out_folder(node: Node, body: EvaluationTask, models: Sequence[ModelReference]) -> tuple[Path, list[Path]]:
    """Return the writable folder of this run, the same again after a crash, and those of earlier runs."""
    place = f"evaluate-{hex_part(body.benchmark.digest)[:16]}-{hex_part(body.cohort)[:16]}-"
    run = digest_bytes(" ".join(sorted(model.digest for model in models)).encode())
    out = node.home.scratch / (place + hex_part(run)[:16])
    (out / "scores").mkdir(mode=0o700, parents=True, exist_ok=True)
    return out, [folder for folder in node.home.scratch.glob(f"{place}*") if folder != out]


def _cases(holding: Holding) -> list[ManifestCase]:
    return [case for case in holding.manifest.cases if case.split == SPLIT]


def _patients(holding: Holding) -> frozenset[str]:
    return frozenset(case.patient for case in _cases(holding))


def _kept(node: Node, body: EvaluationTask, model: ModelReference) -> Path:
    return scores_path(node.home, body.benchmark.digest, body.cohort, model.digest)


def _block(
    node: Node,
    body: EvaluationTask,
    holding: Holding,
    definition: BenchmarkDefinition,
    task_id: str,
    started: datetime,
    serving: Serving,
) -> EstimateBlock:
    scores = [_kept(node, body, model) for model in serving.models]
    limits = stricter(definition.disclosure, load_policy(node.home).disclosure)
    computed = estimated(definition, body.benchmark.digest, _cases(holding), scores, _seed(node, body), limits)
    block = {
        "task_id": task_id,
        "evaluation_id": body.evaluation_id,
        "silo_id": node.identity.silo_id,
        "benchmark": body.benchmark.model_dump(mode="json"),
        "cohort": body.cohort,
        "models": tuple(model.digest for model in serving.models),
        "refused": [one.model_dump(mode="json") for one in serving.refused],
        "attempt": body.attempt,
        "software": {"medsilo": __version__, "monai": version("monai"), "torch": version("torch")},
        # To the minute: a model must not tell anything by how long it takes.
        "started": started.replace(second=0, microsecond=0).isoformat(),
        "finished": datetime.now(UTC).replace(second=0, microsecond=0).isoformat(),
        "limits": limits.model_dump(mode="json"),
        **computed,
    }
    try:
        return EstimateBlock.model_validate_json(json.dumps(block))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
        raise WorkFailed("output-invalid", f"the estimates do not fit the declared block at {place}") from None


def _seed(node: Node, body: EvaluationTask) -> int:
    """Return the seed of the bootstrap: the same for the same question, and not to be guessed outside the site."""
    question = {"benchmark": body.benchmark.digest, "cohort": body.cohort, "models": [m.digest for m in body.models]}
    key = node.home.site_key_file.read_bytes()
    return int.from_bytes(blake3(canonical_bytes(question), key=key).digest()[:16])
