"""Local training behind the interface of ``monai.fl.client.ClientAlgo``.

A plain torch loop: the global model in, the difference *trained minus global* out. The optimiser starts afresh every
round, so a silo keeps nothing between rounds but its data. What is given away is always a copy: MONAI's own algorithm
hands out the live weights on a CPU, and the next step changes what was "sent".
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.fl.client.client_algo import ClientAlgo
from monai.fl.utils.constants import WeightType
from monai.fl.utils.exchange_object import ExchangeObject
from torch import nn
from torch.nn import functional

from pipelines.bundles.bundle import Bundle
from pipelines.cohort import CaseSource, cases_of, read_manifest
from pipelines.device import CPU, device_of
from pipelines.errors import PipelineError
from pipelines.inference import Predictor
from pipelines.job import LocalPrivacy, LocalTraining, Score
from pipelines.networks import Arrays, float_tensors, load_arrays, load_network, to_arrays
from pipelines.preparation.transforms import build_preprocessing
from pipelines.question import Question
from pipelines.tasks import task_for

logger = logging.getLogger(__name__)
MOMENTUM = 0.9
"""Of stochastic gradient descent at the sites, where the plan says no other."""


class LocalTrainer(ClientAlgo):
    """One silo's training algorithm over its training cases, with its validation cases for the score.

    The order of calls is ``initialize``, then for each round ``train`` and ``get_weights``; ``evaluate`` at any time.
    Weights in an ``ExchangeObject`` are arrays or tensors by name, exactly those of the network.
    """

    def __init__(
        self,
        network: nn.Module,
        question: Question,
        local: LocalTraining,
        training: CaseSource,
        validation: CaseSource,
        *,
        seed: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        self._network, self._question, self._local = network, question, local
        self._training, self._validation = training, validation
        self._seed, self._progress = seed, progress
        self._task = task_for(question)
        self._global: Arrays | None = None
        self._trained = self._aborted = False
        self._steps = 0

    def initialize(self, extra: dict[str, Any] | None = None) -> None:
        """Get ready for a new study; forgets any earlier round."""
        self._global, self._trained, self._aborted, self._steps = None, False, False, 0

    def abort(self, extra: dict[str, Any] | None = None) -> None:
        """Stop training after the present step; the round then has no weights to give."""
        self._aborted = True

    def train(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> None:
        """Train one round from the global weights in ``data``; ``extra["round"]`` makes its randomness.

        ``extra["start"]`` are other weights to begin at, ``extra["correction"]`` is added to each step's gradients.

        Raises ``weights-mismatch`` or ``weights-invalid`` for a global model that is not exactly this network's, and
        ``cohort-too-small`` without training cases.
        """
        self._accept(data)
        if len(self._training) == 0:
            raise PipelineError("cohort-too-small", "there are no training cases")
        self._aborted = self._trained = False
        extra = extra or {}
        anchors = self._anchors(self._local.proximal)
        if extra.get("start") is not None:
            load_arrays(self._network, extra["start"])
        pull = Pull(self._local.proximal, anchors, extra.get("correction", ()))
        self._run([self._seed, int(extra.get("round", 0))], pull)
        self._trained = not self._aborted

    def train_beside(self, start: Arrays, data: ExchangeObject, strength: float, seed: tuple[int, ...]) -> Arrays:
        """Train another model from ``start`` over the same cases, held near the weights in ``data``, and return it.

        The round's own result must have been taken before. With a strength of nought nothing of ``data`` gets in.
        """
        self._accept(data)
        anchors = self._anchors(strength)
        load_arrays(self._network, start)
        self._trained = False
        self._run([self._seed, *seed], Pull(strength, anchors, ()))
        beside = to_arrays(self._network)
        if not all(np.isfinite(array).all() for array in beside.values()):
            raise PipelineError("update-not-finite", "training diverged")
        return beside

    @property
    def metric(self) -> str:
        """The metric of every score."""
        return self._task.metric

    @property
    def steps(self) -> int:
        """How many steps the last training made."""
        return self._steps

    def get_weights(self, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Return copies of trained minus global, as float32, with the number of steps and cases.

        Raises ``work-failed`` before a completed ``train`` and ``update-not-finite`` where training diverged.
        """
        if not self._trained or self._global is None:
            raise PipelineError("work-failed", "there is no trained round to give weights of")
        trained = to_arrays(self._network)
        update = {name: trained[name] - self._global[name] for name in trained}
        scale = update_scale(self._steps, self._local.normalise_to, self._local.momentum)
        for name, _ in self._network.named_parameters(remove_duplicate=False):
            update[name] = update[name] * scale  # never a buffer: a scaled running variance could turn negative
        if not all(np.isfinite(array).all() for array in update.values()):
            raise PipelineError("update-not-finite", "training diverged")
        statistics = {"num_executed_iterations": self._steps, "num_cases": len(self._training)}
        return ExchangeObject(weights=update, weight_type=WeightType.WEIGHT_DIFF, statistics=statistics)

    def evaluate(self, data: ExchangeObject, extra: dict[str, Any] | None = None) -> ExchangeObject:
        """Return ``metrics`` of the weights in ``data`` on the validation cases; empty where undefined."""
        score = self.score(data)
        return ExchangeObject(metrics={} if score.value is None else {score.metric: score.value})

    def score(self, data: ExchangeObject) -> Score:
        """Score the weights in ``data`` on the validation cases, rounded; the metric is the task's choice."""
        self._accept(data)
        predictor = Predictor(self._network, lambda image: image, self._task)
        cases = [self._validation[index] for index in range(len(self._validation))]
        records = [predictor.record(case) for case in cases]
        metric, value, reason = self._task.validate(records, cases)
        rounded = None if value is None else round(value, self._question.disclosure.decimals)
        return Score(metric=metric, value=rounded, reason=reason or None, cases=len(cases))

    def loss(self, weights: Arrays) -> float:
        """Return the mean loss of weights over the validation cases; infinite where there are none or it is."""
        self._accept(ExchangeObject(weights=weights))
        cases, size = len(self._validation), self._local.batch_size
        total = 0.0
        with torch.no_grad():
            for start in range(0, cases, size):
                indices = np.arange(start, min(start + size, cases))
                images, labels = self._placed(self._validation.batch(indices))
                total += float(self._task.loss(self._network(images), labels.long())) * len(indices)
        return total / cases if cases and np.isfinite(total) else float("inf")

    def _accept(self, data: ExchangeObject) -> None:
        """Load global weights after checking them; MONAI's own algorithm would go on with 1 of 77 tensors."""
        weights = data.weights or {}
        expected = float_tensors(self._network)
        if data.weight_type not in (None, WeightType.WEIGHTS) or set(weights) != set(expected):
            raise PipelineError("weights-mismatch", "the global model's tensors are not exactly this network's")
        arrays = {
            name: torch.as_tensor(value).detach().cpu().float().clone().numpy() for name, value in weights.items()
        }
        for name, array in arrays.items():
            if array.shape != tuple(expected[name].shape):
                raise PipelineError("weights-mismatch", f"tensor {name} has another shape")
            if not np.isfinite(array).all():
                raise PipelineError("weights-invalid", f"tensor {name} holds a NaN or an infinity")
        self._global = arrays
        load_arrays(self._network, arrays)

    def _run(self, seed: list[int], pull: "Pull") -> None:
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**62)))
        random = np.random.default_rng(seed)
        optimiser = new_optimiser(self._network, self._local)
        plan = batches(len(self._training), self._local, random)
        self._network.train()
        self._steps = 0
        for indices in plan:
            if self._aborted:
                break
            self._step(optimiser, indices, random, pull)
            self._steps += 1
            self._progress(self._steps, len(plan))
        self._network.eval()

    def _anchors(self, strength: float) -> list[tuple[nn.Parameter, torch.Tensor]]:
        """Return each parameter with its global value, where training is held near the global model."""
        if strength == 0:
            return []
        return [(parameter, parameter.detach().clone()) for parameter in self._network.parameters()]

    def _step(self, optimiser: torch.optim.Optimizer, indices: Any, random: np.random.Generator, pull: "Pull") -> None:
        images, labels = self._placed(self._training.batch(indices), random if self._local.augment else None)
        optimiser.zero_grad(set_to_none=True)
        loss = self._task.loss(self._network(images), labels.long())
        if not bool(torch.isfinite(loss)):
            raise PipelineError("update-not-finite", "the loss is not finite")
        loss.backward()  # type: ignore[no-untyped-call]
        pull.apply()
        optimiser.step()

    def _placed(
        self, batch: tuple[Any, Any], random: np.random.Generator | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a batch where the network lies; with ``random`` it is varied first, on the CPU as everywhere."""
        images, labels = (torch.from_numpy(array) for array in batch)
        if random is not None:
            images, labels = augment(images, labels, self._question.task == "segmentation", random)
        device = device_of(self._network)
        return images.to(device), labels.to(device)


@dataclass(frozen=True)
class Pull:
    """What is added to the gradients of a step besides the loss's."""

    strength: float
    anchors: Sequence[tuple[nn.Parameter, torch.Tensor]]
    correction: Sequence[tuple[nn.Parameter, torch.Tensor]]

    def apply(self) -> None:
        for parameter, anchor in self.anchors:
            if parameter.grad is not None:
                # The gradient of strength / 2 * |w - w_global| ** 2, without a graph over every parameter.
                parameter.grad.add_(parameter.detach() - anchor, alpha=self.strength)
        for parameter, added in self.correction:
            if parameter.grad is not None:
                parameter.grad.add_(added)


def update_scale(steps: int, normalise_to: int | None, momentum: float = MOMENTUM) -> np.float32:
    """Return what FedNova multiplies an update with, so that a silo counts as if it had made ``normalise_to`` steps.

    With momentum a gradient acts for several steps: after ``k`` of them the effective number is the sum over
    ``j = 1 ... k`` of ``(1 - momentum ** j) / (1 - momentum)`` (Wang et al. 2020, section 4).
    """
    if normalise_to is None:
        return np.float32(1)
    return np.float32(_effective_steps(normalise_to, momentum) / _effective_steps(steps, momentum))


def _effective_steps(steps: int, momentum: float) -> float:
    past = momentum * (1 - momentum**steps) / (1 - momentum)
    return (steps - past) / (1 - momentum)


def batches(cases: int, local: LocalTraining, random: np.random.Generator) -> list[np.ndarray[Any, Any]]:
    """Return the case indices of each step: every case once an epoch, in a new order, at most ``max_steps`` steps."""
    plan = []
    for _ in range(local.epochs):
        order = random.permutation(cases)
        plan += [order[start : start + local.batch_size] for start in range(0, cases, local.batch_size)]
        if local.max_steps is not None and len(plan) >= local.max_steps:
            return plan[: local.max_steps]
    return plan


def augment(
    images: torch.Tensor, labels: torch.Tensor, maps: bool, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a batch by up to a sixteenth of each side, and scale and shift its intensities by about a tenth.

    Nothing is mirrored: the heart is on the left, and some labels are, too.
    """
    scale, offset = 1 + 0.1 * float(random.standard_normal()), 0.1 * float(random.standard_normal())
    widths = [size // 16 for size in images.shape[2:]]
    steps = [int(random.integers(-width, width + 1)) for width in widths]
    images = _moved(images, steps, "replicate") * scale + offset
    return images, _moved(labels[:, None], steps, "constant")[:, 0] if maps else labels


def _moved(batch: torch.Tensor, steps: list[int], mode: str) -> torch.Tensor:
    """Move (B, C, *shape) by whole voxels along each axis; what comes in is the edge, or nought."""
    sides = [side for step in reversed(steps) for side in (max(step, 0), max(-step, 0))]
    padded = functional.pad(batch, sides, mode=mode)
    for axis, step in enumerate(steps, start=2):
        padded = padded.narrow(axis, max(-step, 0), batch.shape[axis])
    return padded


def open_trainer(
    bundle: Bundle,
    question: Question,
    local: LocalTraining,
    cohort: Path,
    *,
    seed: int,
    privacy: LocalPrivacy | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    device: torch.device = CPU,
) -> tuple[LocalTrainer, nn.Module]:
    """Return a trainer over a cohort's training and validation splits, and the network it trains, on ``device``.

    With ``privacy`` its steps are private; raises ``network-not-private`` where the network cannot be trained so.
    """
    manifest = read_manifest(cohort)
    preprocess = build_preprocessing(bundle.profile.preprocessing)
    network = load_network(bundle).to(device)
    cases = cases_of(manifest, "train")
    training = CaseSource(cohort, cases, question, preprocess)
    validation = CaseSource(cohort, cases_of(manifest, "validation"), question, preprocess)
    trainer: LocalTrainer
    if privacy is None:
        trainer = LocalTrainer(network, question, local, training, validation, seed=seed, progress=progress)
    else:
        # Only a private study needs the optional packages.
        from pipelines.privacy.training import PrivateTrainer

        patients = of_patients([entry.patient for entry in cases])
        trainer = PrivateTrainer(
            network,
            question,
            local,
            training,
            validation,
            seed=seed,
            privacy=privacy,
            patients=patients,
            progress=progress,
        )
    trainer.initialize()
    return trainer, network


def of_patients(patients: Sequence[str]) -> list[list[int]]:
    """Return the case indices of each patient, by pseudonym."""
    found: dict[str, list[int]] = {}
    for index, patient in enumerate(patients):
        found.setdefault(patient, []).append(index)
    return [found[patient] for patient in sorted(found)]


def run_round(
    trainer: LocalTrainer, weights: Arrays, number: int, *, validate_only: bool
) -> tuple[Score, Arrays | None, float]:
    """Do one round: the score of the incoming weights, the update unless only validating, and seconds of training."""
    exchange = ExchangeObject(weights=weights, weight_type=WeightType.WEIGHTS)
    score = trainer.score(exchange)
    if validate_only:
        return score, None, 0.0
    start = time.perf_counter()
    trainer.train(exchange, {"round": number})
    update = trainer.get_weights().weights
    return score, update, time.perf_counter() - start


def new_optimiser(network: nn.Module, local: LocalTraining) -> torch.optim.Optimizer:
    """Return the optimiser a plan names, without any memory of earlier rounds."""
    parameters = list(network.parameters())
    if local.optimiser == "sgd":
        return torch.optim.SGD(parameters, lr=local.learning_rate, momentum=local.momentum)
    kind = torch.optim.AdamW if local.optimiser == "adamw" else torch.optim.Adam
    return kind(parameters, lr=local.learning_rate)
