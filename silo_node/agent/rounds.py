"""A study's rounds at this site: one jailed process per study, kept over its rounds, and one signed report a round."""

import shutil
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipelines.job import Keeping, LocalTraining, RoundCommand, RoundEvent, Score, TrainSession
from silo_node.agent.claims import Claim
from silo_node.agent.compressed import compress_update, forget_residuals
from silo_node.agent.holdings import Holding, find_holding, verify_holding
from silo_node.agent.judging import judged_sound
from silo_node.agent.neighbour_round import NeighbourRound
from silo_node.agent.node import Interrupted, Node, persist
from silo_node.agent.scorebook import ScoreBook
from silo_node.agent.updates import check_update
from silo_node.benchmarks import known_benchmark
from silo_node.hub import Hub
from silo_node.journal import Journal
from silo_node.policy import RoundRequest, agreed_level, decide_round, load_policy
from silo_node.policy.disclosure import stricter
from silo_node.privacy.account import PrivacyAccount, local_privacy, training_patients
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.sandbox import Bind
from silo_node.sandbox.work import TrainingSession, WorkCancelled, known_code
from silo_node.wire.benchmarks import METRICS, BenchmarkDefinition
from silo_node.wire.canonical import message_digest
from silo_node.wire.compression import Known
from silo_node.wire.course import verdict_on
from silo_node.wire.digests import digest_file, hex_part
from silo_node.wire.errors import PolicyRefusal, WorkFailed
from silo_node.wire.studies import RoundReport, RoundTask, SiteScore, judged
from silo_node.wire.transfers import BlobReference

CODE_FREE = 1
SESSIONS = 2
"""Studies whose processes are kept at a time; beyond it the one idle longest is ended."""


@dataclass(frozen=True)
class Answer:
    """A round's report, unsigned, and the update that goes with it."""

    report: RoundReport
    update: Path | None


@dataclass(frozen=True)
class Kept:
    """An update that waits to leave, and exactly what it is."""

    path: Path
    blob: BlobReference
    level: str
    """Of compression."""


@dataclass
class _Session:
    training: TrainingSession
    cohort_id: str
    used: float


class StudySessions:
    """The training processes of this site. Use it in one thread that lives as long as they shall."""

    def __init__(self, node: Node, journal: Journal) -> None:
        self._node = node
        self._account = PrivacyAccount(node.home, journal)
        self._spending = PrivacyLedger(journal)
        self._book = ScoreBook(journal)
        self._sessions: dict[str, _Session] = {}

    def answer(self, hub: Hub, claim: Claim, body: RoundTask, agreed: str | None) -> Answer:
        """Do one round and return its answer.

        Raises :class:`PolicyRefusal`, :class:`IntegrityError` ``cohort-changed``, :class:`WorkFailed`,
        ``cohort-unknown``; and :class:`Interrupted`.
        """
        home, longest = self._node.home, self._node.config.poll.backoff_seconds
        holding = self._permitted(body, agreed)
        published = persist(partial(known_benchmark, home, body.plan.benchmark, hub), claim.cancelled, longest)
        limits = stricter(published.disclosure, load_policy(home).disclosure)
        definition = published.model_copy(update={"disclosure": limits})
        persist(partial(hub.fetch_model, body.plan.model, home.bundles), claim.cancelled, longest)
        exchange = self._folder(body.study_id) / "exchange"
        name = f"{hex_part(body.weights.digest)}.safetensors"
        weights = persist(partial(hub.fetch, body.weights, exchange, name), claim.cancelled, longest)
        if body.control is not None and not body.validate_only:
            persist(partial(hub.fetch, body.control, exchange, _control_name(body.control)), claim.cancelled, longest)
        verify_holding(home, holding)
        try:
            if body.plan.decentralised is not None:
                return self._mixed_round(hub, claim, body, holding, definition, weights)
            return self._run(claim, body, holding, definition, weights)
        finally:
            weights.unlink(missing_ok=True)
            if body.control is not None:
                (exchange / _control_name(body.control)).unlink(missing_ok=True)
            if body.round > body.plan.rounds:
                self.end(body.study_id)
                self._spending.close(body.study_id)
                forget_residuals(self._node.home, body.study_id)

    def end_idle(self) -> None:
        """End the processes of studies that have not asked for a round for long."""
        limit = self._node.config.session_idle_minutes * 60
        for study_id, session in list(self._sessions.items()):
            if time.monotonic() - session.used > limit:
                self.end(study_id)

    def end(self, study_id: str) -> None:
        """End one study's process and remove its scratch folder."""
        session = self._sessions.pop(study_id, None)
        if session is not None:
            session.training.close()
        shutil.rmtree(self._node.home.scratch / f"study-{study_id}", ignore_errors=True)

    def close(self) -> None:
        """End all processes."""
        for study_id in list(self._sessions):
            self.end(study_id)

    def _permitted(self, body: RoundTask, agreed: str | None) -> Holding:
        """Return the cohort, once the policy allows the round under the plan that was agreed to."""
        if message_digest(body.plan) != body.plan_digest:
            raise PolicyRefusal("policy-study", "the plan is not what its digest says")
        holding = find_holding(self._node.home, body.cohort, body.plan.benchmark)
        cases = holding.manifest.count("train") if holding else None
        request = RoundRequest(body.plan.benchmark.name, cases, body.plan_digest, agreed, body.plan.purpose)
        decision = decide_round(load_policy(self._node.home), request)
        if decision.code is not None or holding is None:
            raise PolicyRefusal(decision.code or "cohort-unknown", f"rule {decision.rule}: {decision.words}")
        self._level(body)  # one that is not known is refused before anything is trained
        return holding

    def _level(self, body: RoundTask) -> Known:
        return agreed_level(load_policy(self._node.home), body.plan, body.level)

    def _run(
        self, claim: Claim, body: RoundTask, holding: Holding, definition: BenchmarkDefinition, weights: Path
    ) -> Answer:
        higher = definition.primary.direction == "higher"
        gate = body.plan.gate
        reference = self._book.reference(body.study_id, body.weights.digest, higher=higher) if gate else None
        control = None if body.control is None or body.validate_only else _control_name(body.control)
        command = RoundCommand(
            round=body.round,
            weights=Path("/exchange") / weights.name,
            validate_only=body.validate_only,
            evaluate=body.evaluate,
            control=Path("/exchange") / control if control else None,
            standing=body.standing,
            best=body.best,
            reference=reference,
            tolerance=gate.tolerance if gate else 0.0,
            higher=higher,
        )
        event, update = self._trained(claim, body, holding, definition, command)
        kept = self._keep(claim, body, weights, update) if update is not None else None
        report = _report(self._node, claim, body, holding, definition, event, kept)
        if gate is not None and (body.evaluate or body.validate_only):
            value = judged(body.plan, report.score, report.personal).value
            verdict = verdict_on(gate, value, reference, higher=higher)
            self._book.note(body.study_id, body.weights.digest, value, verdict)
            report = report.model_copy(update={"verdict": verdict})
        return Answer(report, kept.path if kept else None)

    def _mixed_round(
        self, hub: Hub, claim: Claim, body: RoundTask, holding: Holding, definition: BenchmarkDefinition, first: Path
    ) -> Answer:
        """Do a round of a decentralised study: mix, validate, train, and seal the model for the neighbours."""
        neighbourhood = NeighbourRound.begin(self._node, hub, claim, body, first, self._folder(body.study_id))
        event, model = self._trained(claim, body, holding, definition, neighbourhood.command)
        if model is None:
            raise WorkFailed("output-invalid", "a mixed round gives a model")
        kept = self._keep(claim, body, first, model)
        sealed = neighbourhood.finish(event, kept.path)
        report = _report(self._node, claim, body, holding, definition, event, kept)
        return Answer(report.model_copy(update={"update": sealed.blob, "exchange": sealed.exchange}), sealed.path)

    def _trained(
        self, claim: Claim, body: RoundTask, holding: Holding, definition: BenchmarkDefinition, command: RoundCommand
    ) -> tuple[RoundEvent, Path | None]:
        """Have the study's process do a round; one that died of itself gets one more try with a fresh one."""
        for attempt in (1, 2):
            session = self._session(body, holding, definition)
            if not body.validate_only:
                # Again at a second try: the first may have drawn its noise before it died.
                self._account.book_round(body, holding, load_policy(self._node.home))
            try:
                event, update = session.training.round(
                    command,
                    wall_seconds=self._node.config.limits.round_minutes * 60,
                    progress=claim.progress,
                    cancelled=claim.cancelled,
                )
                break
            except WorkCancelled:
                self._sessions.pop(body.study_id, None)
                raise Interrupted from None
            except WorkFailed as error:
                if session.training.running:
                    raise
                self._sessions.pop(body.study_id, None)
                session.training.close()
                # A process that died of itself, or was killed, is worth one more try with a fresh one.
                if error.code != "work-failed" or attempt == 2:
                    raise
        session.training.pause()
        session.used = time.monotonic()
        verify_holding(self._node.home, holding)
        return event, update

    def _session(self, body: RoundTask, holding: Holding, definition: BenchmarkDefinition) -> _Session:
        found = self._sessions.get(body.study_id)
        if found is not None and found.training.running and found.cohort_id == holding.cohort_id:
            return found
        if found is not None:
            found.training.close()
        # Only what is data in every part is trained here, whatever tiers may be evaluated.
        if judged_sound(self._node, body.plan.model, definition).tier != CODE_FREE:
            raise PolicyRefusal("policy-model-tier", "only a code-free bundle can be trained")
        self._make_room()
        session = _Session(self._started(body, holding, definition), holding.cohort_id, time.monotonic())
        self._sessions[body.study_id] = session
        return session

    def _make_room(self) -> None:
        while len(self._sessions) >= SESSIONS:
            self.end(min(self._sessions, key=lambda study_id: self._sessions[study_id].used))

    def _started(self, body: RoundTask, holding: Holding, definition: BenchmarkDefinition) -> TrainingSession:
        folder, home = self._folder(body.study_id), self._node.home
        bundle = f"/models/{hex_part(body.plan.model.digest)}.zip"
        job = TrainSession(
            cohort=Path("/cohort"),
            definition=definition.model_dump(mode="json"),
            bundle=Path(bundle),
            local=LocalTraining.model_validate(body.plan.local.model_dump()),
            out=Path("/out"),
            exchange=Path("/exchange"),
            keeps=Keeping.model_validate(body.plan.keeps),
            state=Path("/state"),
            threads=self._node.config.threads,
            seed=body.plan.seed,
            privacy=local_privacy(body.plan, len(training_patients(holding.manifest))),
        )
        binds = [
            Bind(holding.folder, "/cohort"),
            Bind(home.bundles / Path(bundle).name, bundle),
            Bind(folder / "exchange", "/exchange"),
            Bind(folder / "out", "/out", writable=True),
            Bind(self._state(body.study_id), "/state", writable=True),
        ]
        return TrainingSession(
            self._node.sandbox,
            job,
            binds,
            self._node.limits(self._node.config.limits.round_minutes, training=True),
            scratch=home.scratch,
            log=home.logs / "work" / f"{body.study_id}.log",
        )

    def _folder(self, study_id: str) -> Path:
        folder = self._node.home.scratch / f"study-{study_id}"
        for name in ("exchange", "out"):
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _state(self, study_id: str) -> Path:
        folder = self._node.home.studies / study_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder

    def _keep(self, claim: Claim, body: RoundTask, weights: Path, update: Path) -> Kept:
        """Move an update out of the jail's folder, to where it waits to leave, judge it, and make it smaller.

        Its digest is taken first: the process that wrote it may still hold the file open, and whatever it changes
        later is then not what the report names, and does not leave.
        """
        path, level = self._node.home.outbox / f"{claim.task.task_id}.safetensors", self._level(body)
        try:
            update.rename(path)
            blob = BlobReference(digest=digest_file(path), size=path.stat().st_size)
            check_update(weights, path)
            if level.level != "none":
                plain, path = path, compress_update(self._node.home, body.study_id, body.round, path, level)
                if digest_file(plain) != blob.digest:
                    raise WorkFailed("output-invalid", "the update was changed while it was compressed")
                plain.unlink()
                blob = BlobReference(digest=digest_file(path), size=path.stat().st_size)
        except OSError:
            raise WorkFailed("output-invalid", "the update it names is not there") from None
        except WorkFailed:
            path.unlink(missing_ok=True)
            raise
        return Kept(path, blob, level.level)


def _report(
    node: Node,
    claim: Claim,
    body: RoundTask,
    holding: Holding,
    definition: BenchmarkDefinition,
    event: RoundEvent,
    kept: Kept | None,
) -> RoundReport:
    asked = body.evaluate or body.validate_only
    return RoundReport(
        task_id=claim.task.task_id,
        study_id=body.study_id,
        silo_id=node.identity.silo_id,
        round=body.round,
        plan_digest=body.plan_digest,
        base=body.weights.digest,
        cohort=body.cohort,
        update=kept.blob if kept else None,
        sent_as=kept.level if kept else None,
        score=_score(event.score, holding, definition),
        personal=_score(event.personal, holding, definition) if asked and event.personal else None,
        alone=_score(event.alone, holding, definition) if asked and event.alone else None,
        # Two digits: finer times would be a way to tell of a case. A private round tells none: they grow with who
        # was drawn.
        train_seconds=0.0 if body.plan.privacy else float(f"{round(event.train_seconds, 1):.2g}"),
    )


def _score(told: Score, holding: Holding, definition: BenchmarkDefinition) -> SiteScore:
    if METRICS.get(told.metric, ("",))[0] != definition.task:
        raise WorkFailed("output-invalid", "the score is of a metric that is not one of the benchmark's kind")
    return SiteScore(
        metric=told.metric,
        value=None if told.value is None else round(min(max(told.value, 0.0), 1000.0), definition.disclosure.decimals),
        reason=known_code(told.reason) if told.reason else None,
        # What this site knows is not taken from the jail.
        cases=holding.manifest.count("validation"),
    )


def _control_name(control: BlobReference) -> str:
    return f"{hex_part(control.digest)}.control.safetensors"
