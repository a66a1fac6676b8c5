"""Local training with differential privacy: DP-SGD whose unit is the patient (Abadi et al. 2016), on Opacus.

In each step every patient is drawn by himself with the same probability, at most so many of his images are taken, and
the clipped mean of their gradients enters a sum with secret noise. Nothing else of a step leaves the process: neither
how many were drawn, nor whether a loss was finite.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from pipelines.cohort import CaseSource
from pipelines.errors import PipelineError
from pipelines.job import LocalPrivacy, LocalTraining
from pipelines.privacy.clipping import Clipping
from pipelines.privacy.gradients import image_gradients
from pipelines.privacy.optimiser import PatientOptimizer
from pipelines.privacy.randomness import SecretRandomness
from pipelines.privacy.readiness import dp_ready, without_inplace
from pipelines.question import Question
from pipelines.training import LocalTrainer, Pull, new_optimiser

IMAGES_AT_A_TIME = 8
"""Images whose single gradients are in memory together; a patient's are never parted."""


class PrivateTrainer(LocalTrainer):
    """A silo's training algorithm with noise in every step; ``patients`` are the case indices of each one."""

    def __init__(
        self,
        network: nn.Module,
        question: Question,
        local: LocalTraining,
        training: CaseSource,
        validation: CaseSource,
        *,
        seed: int,
        privacy: LocalPrivacy,
        patients: Sequence[list[int]],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Raise ``network-not-private`` for a network of which one patient's gradient cannot be told."""
        super().__init__(network, question, local, training, validation, seed=seed, progress=progress)
        self._privacy, self._patients = privacy, list(patients)
        self._randomness = SecretRandomness(bytes.fromhex(privacy.noise_key) if privacy.noise_key else None)
        # The model's own preprocessing may change an image's size.
        shape = training[0].image.shape if len(training) else (question.input.channels, *question.input.shape)
        found = dp_ready(network, shape)
        if not found.ready:
            raise PipelineError("network-not-private", found.reason)
        without_inplace(network)

    def _run(self, seed: list[int], pull: Pull) -> None:
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**62)))
        privacy, random = self._privacy, np.random.default_rng(seed)
        optimiser = PatientOptimizer(
            new_optimiser(self._network, self._local),
            noise=privacy.noise_multiplier,
            clipping=Clipping(privacy.clipping_norm, privacy.clipping_quantile),
            expected=privacy.rate * len(self._patients),
            randomness=self._randomness,
        )
        optimiser.attach_step_hook(lambda _: pull.apply())  # after the noise: it depends on no patient
        self._steps = 0
        with image_gradients(self._network):
            while self._steps < privacy.steps and not self._aborted:
                self._private_step(optimiser, random)
                self._steps += 1
                self._progress(self._steps, privacy.steps)

    def _private_step(self, optimiser: PatientOptimizer, random: np.random.Generator) -> None:
        drawn = self._randomness.chosen(len(self._patients), self._privacy.rate)
        groups = self._grouped([self._images(patient) for patient in drawn])
        for number, group in enumerate(groups):
            optimiser.zero_grad()
            self._gradients(group, random)
            optimiser.gather([owner for owner, images in enumerate(group) for _ in images], len(group))
            optimiser.signal_skip_step(number + 1 < len(groups))
            optimiser.step()
        if not groups:
            optimiser.zero_grad()
            optimiser.nobody()
            optimiser.step()
        optimiser.zero_grad()

    def _images(self, patient: int) -> list[int]:
        return self._randomness.some_of(self._patients[patient], self._privacy.images_per_patient)

    def _grouped(self, patients: list[list[int]]) -> list[list[list[int]]]:
        """Part a step's patients into groups of few images."""
        groups: list[list[list[int]]] = []
        room = 0
        for images in patients:
            if not groups or len(images) > room:
                groups.append([])
                room = IMAGES_AT_A_TIME
            groups[-1].append(images)
            room -= len(images)
        return groups

    def _gradients(self, group: list[list[int]], random: np.random.Generator) -> None:
        indices = [index for images in group for index in images]
        images, labels = self._placed(self._training.batch(indices), random if self._local.augment else None)
        logits = self._network(images)
        # Each image's own loss, since a mean over the batch need not be one over images (Dice is not).
        losses = [self._task.loss(logits[n : n + 1], labels[n : n + 1].long()) for n in range(len(indices))]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
