"""Opacus's optimiser with the patient as unit, secret noise, and a clipping norm that may adapt.

Opacus counts images. Here the gradients of one patient's images are averaged first, so that what is clipped, and what
the noise hides, is a whole patient however many images there are.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from opacus.optimizers.optimizer import DPOptimizer

from pipelines.privacy.clipping import Clipping, adapted, split_noise
from pipelines.privacy.randomness import SecretRandomness


class PatientOptimizer(DPOptimizer):  # type: ignore[misc]  # Opacus has no stubs
    """Clips each patient's gradient and adds secret Gaussian noise before the wrapped optimiser's step."""

    max_grad_norm: float

    def __init__(
        self,
        optimiser: torch.optim.Optimizer,
        *,
        noise: float,
        clipping: Clipping,
        expected: float,
        randomness: SecretRandomness,
    ) -> None:
        """``noise`` is what is accounted for: the multiplier of everything a step tells."""
        gradient_noise, self._count_noise = split_noise(noise, expected, clipping.quantile)
        super().__init__(
            optimiser,
            noise_multiplier=gradient_noise,
            max_grad_norm=clipping.norm,
            expected_batch_size=expected,
            loss_reduction="mean",
        )
        self._clipping, self._randomness = clipping, randomness
        self._centred = 0.0

    def gather(self, owners: Sequence[int], patients: int) -> None:
        """Turn gradients of images, in ``p.grad_sample``, into gradients of patients: the mean over each one's images.

        ``owners`` says for each image which of the ``patients`` it is of. A gradient that is not finite counts as
        nought: to stop there would tell that this patient was drawn.
        """
        device = self.params[0].device
        owner = torch.as_tensor(owners, dtype=torch.long, device=device)
        images = torch.bincount(owner, minlength=patients).clamp(min=1)
        for parameter in self.params:
            sample = parameter.grad_sample
            whole = torch.zeros((patients, *parameter.shape), device=device)
            whole.index_add_(0, owner, sample.reshape(len(owner), *parameter.shape))
            parameter.grad_sample = whole / images.reshape(-1, *([1] * parameter.dim()))
        finite = torch.ones(patients, dtype=torch.bool, device=device)
        for parameter in self.params:
            finite &= parameter.grad_sample.reshape(patients, -1).isfinite().all(dim=1)
        if not bool(finite.all()):
            for parameter in self.params:
                parameter.grad_sample[~finite] = 0.0

    def nobody(self) -> None:
        """Take a step without any patient: Poisson sampling may draw none, and the noise is added all the same."""
        for parameter in self.params:
            parameter.grad_sample = torch.zeros((0, *parameter.shape), device=parameter.device)

    def clip_and_accumulate(self) -> None:
        """Clip, and count who was not clipped."""
        if self._clipping.quantile is not None and len(self.grad_samples[0]):
            norms = torch.stack([sample.flatten(1).norm(dim=1) for sample in self.grad_samples]).norm(dim=0)
            unclipped = int((norms <= self.max_grad_norm).sum())
            self._centred += unclipped - len(norms) / 2
        super().clip_and_accumulate()

    def add_noise(self) -> None:
        """Add this step's noise, and let the clipping norm follow its quantile."""
        for parameter in self.params:
            drawn = self._randomness.normal(parameter.numel()) * (self.noise_multiplier * self.max_grad_norm)
            noise = torch.from_numpy(drawn).reshape(parameter.shape).float().to(parameter.device)
            parameter.grad = parameter.summed_grad + noise
            # As Opacus marks it: so that no sum is ever noised twice.
            parameter.summed_grad._processed = True
        self._clipping = replace(self._clipping, norm=self.max_grad_norm)
        self.max_grad_norm = adapted(
            self._clipping, self._centred, self.expected_batch_size, self._count_noise, self._randomness
        )
        self._centred = 0.0
