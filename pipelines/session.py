"""A training session's rounds: weights files in, update files out, and what the site keeps of its own in between."""

import logging
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from safetensors.numpy import save_file
from torch import nn

from pipelines.bundles.bundle import read_bundle
from pipelines.device import granted_device
from pipelines.errors import PipelineError
from pipelines.job import Keeping, Neighbourhood, RoundCommand, RoundEvent, Score, TrainSession
from pipelines.memory import SiteMemory, correction, mixed, next_control, norm_names
from pipelines.neighbours.mixing import mix, trained_model
from pipelines.networks import Arrays, read_weights, to_arrays
from pipelines.question import read_question
from pipelines.training import LocalTrainer, open_trainer, run_round

logger = logging.getLogger(__name__)

OWN, CONTROL, PERSONAL, ALONE = "own", "control", "personal", "alone"
"""The names under which a site keeps things; the last two also make the seeds of their training differ."""

_SALT = {PERSONAL: 1, ALONE: 2}


class TrainingRounds:
    """The model and the data of a study, kept over its rounds."""

    def __init__(
        self, trainer: LocalTrainer, network: nn.Module, keeps: Keeping, *, rate: float, out: Path, state: Path | None
    ) -> None:
        self._trainer, self._network, self._keeps, self._rate, self._out = trainer, network, keeps, rate, out
        self._start = to_arrays(network)
        self._norms = norm_names(network, self._start) if keeps.personal == "fedbn" else frozenset()
        self._memory = SiteMemory(state, network)

    @classmethod
    def opened(cls, job: TrainSession, progress: Callable[[int, int], None]) -> "TrainingRounds":
        """Load a job's model and data."""
        job.out.mkdir(parents=True, exist_ok=True)
        bundle, question = read_bundle(job.bundle), read_question(job.definition)
        trainer, network = open_trainer(
            bundle,
            question,
            job.local,
            job.cohort,
            seed=job.seed,
            privacy=job.privacy,
            progress=progress,
            device=granted_device(),
        )
        return cls(trainer, network, job.keeps, rate=job.local.learning_rate, out=job.out, state=job.state)

    def run(self, command: RoundCommand) -> RoundEvent:
        """Do one round; the update is complete at its final name, or not there."""
        if not command.weights.is_file():
            raise PipelineError("file-missing", command.weights.name)
        if command.neighbourhood is not None:
            return self._mixed_round(command, command.neighbourhood)
        shared = read_weights(command.weights, self._network)
        entering = mixed(shared, self._kept(command, OWN), self._norms)
        evaluate = command.evaluate or command.validate_only
        score = self._score(shared) if evaluate else _not_evaluated(self._trainer)
        personal, alone = self._beside(command, entering) if evaluate else (None, None)
        path, seconds = None, 0.0
        if not command.validate_only:
            began = time.perf_counter()
            judged = personal if self._norms and personal is not None else score
            update = self._train(command, shared, self._beginning(command, entering, judged))
            seconds = time.perf_counter() - began
            path = self._write(update, command.round)
        logger.info("round %s: %.1f s of training", command.round, seconds)
        return RoundEvent(
            round=command.round,
            update=path,
            score=score,
            train_seconds=round(seconds, 3),
            personal=personal,
            alone=alone,
        )

    def _mixed_round(self, command: RoundCommand, around: Neighbourhood) -> RoundEvent:
        """Mix with the neighbours' models, score the mixture, and train from it; the file holds the whole model."""
        own = read_weights(command.weights, self._network)
        start, told = mix(own, around, self._network, self._trainer.loss)
        score, update, seconds = run_round(self._trainer, start, command.round, validate_only=command.validate_only)
        path = self._write(trained_model(start, update), command.round)
        logger.info("round %s: %.1f s of training", command.round, seconds)
        return RoundEvent(round=command.round, update=path, score=score, train_seconds=round(seconds, 3), mixed=told)

    def _write(self, arrays: Arrays, number: int) -> Path:
        path = self._out / f"r{number}.update.safetensors"
        partial = path.with_suffix(".partial")
        save_file(arrays, partial)
        partial.replace(path)
        return path

    def _kept(self, command: RoundCommand, name: str) -> Arrays | None:
        return self._memory.read(command.standing, name)

    def _score(self, weights: Arrays) -> Score:
        return self._trainer.score(_exchange(weights))

    def _beside(self, command: RoundCommand, entering: Arrays) -> tuple[Score | None, Score | None]:
        """Score the site's personal model and the one that saw it alone, as they are when the round begins."""
        keeps = self._keeps
        personal = None
        if keeps.personal != "none":
            own = self._kept(command, PERSONAL) if keeps.personal == "ditto" else None
            personal = self._score(entering if own is None else own)
        alone = self._score(self._kept(command, ALONE) or self._start) if keeps.alone else None
        return personal, alone

    def _beginning(self, command: RoundCommand, entering: Arrays, judged: Score) -> Arrays:
        """Return where training begins: the site's own model where the global one became too bad for it."""
        if command.reference is None or judged.value is None:
            return entering
        loss = command.reference - judged.value if command.higher else judged.value - command.reference
        return (self._kept(command, OWN) or entering) if loss > command.tolerance else entering

    def _train(self, command: RoundCommand, shared: Arrays, start: Arrays) -> Arrays:
        """Train from ``start`` and return the difference from the global model; keep what the site keeps."""
        keeps, exchange = self._keeps, _exchange(shared)
        own = self._kept(command, CONTROL)
        common = read_weights(command.control, self._network) if command.control is not None else None
        extra = {"round": command.round, "start": start, "correction": correction(own, common, self._network)}
        self._trainer.train(exchange, extra)
        steps = self._trainer.steps
        update = dict(self._trainer.get_weights().weights or {})
        kept: dict[str, Arrays] = {}
        if keeps.own or self._norms:
            kept[OWN] = to_arrays(self._network)
        for name in self._norms:
            update[name] = np.zeros_like(update[name])
        if keeps.control:
            kept[CONTROL] = next_control(own, common, update, steps * self._rate)
        if keeps.personal == "ditto":
            kept[PERSONAL] = self._train_beside(command, PERSONAL, shared, exchange, keeps.strength)
        if keeps.alone:
            kept[ALONE] = self._train_beside(command, ALONE, self._start, exchange, 0.0)
        self._memory.write(command.round, kept, frozenset({command.standing, command.best}))
        return update

    def _train_beside(
        self, command: RoundCommand, name: str, first: Arrays, exchange: ExchangeObject, strength: float
    ) -> Arrays:
        start = self._kept(command, name) or first
        return self._trainer.train_beside(start, exchange, strength, (command.round, _SALT[name]))


def _exchange(weights: Arrays) -> ExchangeObject:
    return ExchangeObject(weights=weights, weight_type=WeightType.WEIGHTS)


def _not_evaluated(trainer: LocalTrainer) -> Score:
    return Score(metric=trainer.metric, value=None, reason="not-evaluated", cases=0)
