"""A training session's rounds: weights files in, update files out."""

import logging
from collections.abc import Callable

from safetensors.numpy import save_file

from pipelines.bundles.bundle import read_bundle
from pipelines.errors import PipelineError
from pipelines.job import RoundCommand, RoundEvent, TrainSession
from pipelines.networks import read_weights
from pipelines.question import read_question
from pipelines.training import open_trainer, run_round

logger = logging.getLogger(__name__)


class TrainingRounds:
    """The model and the data of a study, kept over its rounds."""

    def __init__(self, job: TrainSession, progress: Callable[[int, int], None]) -> None:
        self._job = job
        job.out.mkdir(parents=True, exist_ok=True)
        self._trainer, self._network = open_trainer(
            read_bundle(job.bundle),
            read_question(job.definition),
            job.local,
            job.cohort,
            seed=job.seed,
            privacy=job.privacy,
            progress=progress,
        )

    def run(self, command: RoundCommand) -> RoundEvent:
        """Do one round; the update is complete at its final name, or not there."""
        if not command.weights.is_file():
            raise PipelineError("file-missing", command.weights.name)
        weights = read_weights(command.weights, self._network)
        score, update, seconds = run_round(self._trainer, weights, command.round, validate_only=command.validate_only)
        path = None
        if update is not None:
            path = self._job.out / f"r{command.round}.update.safetensors"
            partial = path.with_suffix(".partial")
            save_file(update, partial)
            partial.replace(path)
        logger.info("round %s: %.1f s of training", command.round, seconds)
        return RoundEvent(round=command.round, update=path, score=score, train_seconds=round(seconds, 3))
