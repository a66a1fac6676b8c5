"""Attacks on privacy with and without each control: gradient inversion and membership inference on real digits.

::

    python -m tests.performance.privacy_attacks

*Gradient inversion* (Zhu et al. 2019, Geiping et al. 2020): from what a site sends after one step of a small network,
find images whose gradient points the same way. The table holds the peak signal-to-noise ratio of the best recovered
image; pure guessing (the mean digit) reaches about 11 dB.

*Membership inference*: from a model, tell its training images from others; by the loss alone (Yeom et al. 2018) and by
the likelihood ratio of an image's loss in models with and without it (LiRA, Carlini et al. 2022, with few shadows).
Each image is in each model's training set with probability one half; the table holds areas under the ROC curve over all
models. A fifth of the labels is wrong, which a model can only learn by heart.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from pipelines.privacy.accounting import noise_for
from pipelines.privacy.clipping import Clipping
from pipelines.privacy.gradients import image_gradients
from pipelines.privacy.optimiser import PatientOptimizer
from pipelines.privacy.randomness import SecretRandomness

CLASSES, SIDE = 10, 8
IMAGES, EPOCHS, RATE, NORM = 200, 60, 0.2, 1.0
Gradient = list[torch.Tensor]


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images (N, 64) between 0 and 1, and their labels."""
    found = load_digits()
    return torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)


def network(seed: int, hidden: int = 64) -> nn.Sequential:
    """Return a small fully connected network without any normalisation."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(SIDE * SIDE, hidden), nn.Sigmoid(), nn.Linear(hidden, CLASSES))


@dataclass(frozen=True)
class Shown:
    """What an attacker sees of a site: a gradient of so many images, clipped and with noise or not."""

    name: str
    images: int = 1
    clip: float | None = None
    noise: float = 0.0


SHOWN = (
    Shown("nothing"),
    Shown("clipping alone", clip=0.1),
    Shown("large batch: 32 images", images=32),
    Shown("secure sum: 8 sites of 1 image", images=8),
    Shown("patient DP, noise 0.1", clip=0.1, noise=0.1),
    Shown("patient DP, noise 1", clip=0.1, noise=1.0),
)


def gradient_of(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, graph: bool = False) -> Gradient:
    """Return the mean gradient of some images; with ``graph`` it can be differentiated again."""
    loss = functional.cross_entropy(model(images), labels)
    return list(torch.autograd.grad(loss, list(model.parameters()), create_graph=graph))


def sent(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, shown: Shown, seed: int) -> Gradient:
    """Return what the attacker sees: each image's gradient clipped, their mean, and noise on the sum."""
    singles = [gradient_of(model, images[n : n + 1], labels[n : n + 1]) for n in range(len(images))]
    if shown.clip is not None:
        lengths = [float(torch.cat([part.flatten() for part in one]).norm()) for one in singles]
        singles = [
            [part * min(1.0, shown.clip / length) for part in one] for one, length in zip(singles, lengths, strict=True)
        ]
    generator = torch.Generator().manual_seed(seed)
    deviation = shown.noise * (shown.clip or 0.0) / len(images)
    return [
        torch.stack(parts).mean(dim=0) + deviation * torch.randn(parts[0].shape, generator=generator)
        for parts in zip(*singles, strict=True)
    ]


def invert(model: nn.Module, seen: Gradient, labels: torch.Tensor, steps: int, seed: int) -> torch.Tensor:
    """Return images whose gradient points the way of ``seen``, by Adam on the cosine and a smoothness prior."""
    torch.manual_seed(seed)
    guess = torch.rand((len(labels), SIDE * SIDE), requires_grad=True)
    optimiser = torch.optim.Adam([guess], lr=0.05)
    target = torch.cat([part.flatten() for part in seen])
    for _ in range(steps):
        optimiser.zero_grad()
        found = torch.cat([part.flatten() for part in gradient_of(model, guess, labels, graph=True)])
        picture = guess.reshape(-1, SIDE, SIDE)
        rough = picture.diff(dim=1).abs().mean() + picture.diff(dim=2).abs().mean()
        (1 - functional.cosine_similarity(found, target, dim=0) + 1e-3 * rough).backward()
        optimiser.step()
        with torch.no_grad():
            guess.clamp_(0, 1)
    return guess.detach()


def best_psnr(true: torch.Tensor, guess: torch.Tensor) -> float:
    """Return the peak signal-to-noise ratio, in dB, of the best pair of a true and a recovered image."""
    errors = (true[:, None] - guess[None]).square().mean(dim=2)
    return float(-10 * torch.log10(errors.min()))


def inversion(shown: Shown, steps: int = 300, seeds: Sequence[int] = (0,)) -> list[float]:
    """Return how well an image is recovered from what is shown, for each seed."""
    images, labels = digits()
    found = []
    for seed in seeds:
        place = torch.from_numpy(np.random.default_rng(seed).choice(len(images), shown.images, replace=False))
        model = network(seed)
        seen = sent(model, images[place], labels[place], shown, seed)
        found.append(best_psnr(images[place], invert(model, seen, labels[place], steps, seed)))
    return found


Train = Callable[[torch.Tensor, torch.Tensor, int], nn.Module]


def by_heart(images: torch.Tensor, labels: torch.Tensor, seed: int, epochs: int = 4 * EPOCHS) -> nn.Module:
    """Train until the training set is known by heart."""
    model = network(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(epochs):
        optimiser.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
    return model


def stopped_early(images: torch.Tensor, labels: torch.Tensor, seed: int) -> nn.Module:
    """Train for few steps."""
    return by_heart(images, labels, seed, epochs=15)


def averaged(images: torch.Tensor, labels: torch.Tensor, seed: int) -> nn.Module:
    """Return the mean of four sites' models, trained from one start: all that a secure sum shows of a round."""
    parts = np.array_split(np.random.default_rng(seed).permutation(len(images)), 4)
    models = [by_heart(images[torch.from_numpy(part)], labels[torch.from_numpy(part)], seed) for part in parts]
    mean = network(seed)
    with torch.no_grad():
        for target, *sources in zip(mean.parameters(), *(model.parameters() for model in models), strict=True):
            target.copy_(torch.stack([source.detach() for source in sources]).mean(dim=0))
    return mean


def private(epsilon: float | None) -> Train:
    """Return DP-SGD as the silos do it, each image a patient; None clips and adds no noise."""
    steps = int(EPOCHS / RATE)
    noise = 1e-9 if epsilon is None else noise_for(epsilon, 1e-3, rate=RATE, steps=steps)

    def train(images: torch.Tensor, labels: torch.Tensor, seed: int) -> nn.Module:
        model, source = network(seed), SecretRandomness(seed.to_bytes(32))
        optimiser = PatientOptimizer(
            torch.optim.Adam(model.parameters(), lr=0.01),
            noise=noise,
            clipping=Clipping(NORM),
            expected=RATE * len(images),
            randomness=source,
        )
        with image_gradients(model):
            for _ in range(steps):
                drawn = source.chosen(len(images), RATE)
                optimiser.zero_grad()
                functional.cross_entropy(model(images[drawn]), labels[drawn], reduction="sum").backward()
                optimiser.gather(range(len(drawn)), len(drawn))
                optimiser.step()
        return model

    return train


TRAINED: dict[str, Train] = {
    "nothing": by_heart,
    "few steps": stopped_early,
    "secure sum of 4 sites": averaged,
    "clipping alone": private(None),
    "patient DP, epsilon 8": private(8.0),
    "patient DP, epsilon 2": private(2.0),
}


def membership(train: Train, models: int = 12) -> tuple[float, float, float]:
    """Return the areas under the curve of the loss attack and of LiRA, and the accuracy on other images."""
    images, labels = digits()
    random = np.random.default_rng(0)
    place = torch.from_numpy(random.permutation(len(images)))
    targets, noisy = images[place[:IMAGES]], labels[place[:IMAGES]].clone()
    wrong = torch.from_numpy(random.random(IMAGES) < 0.2)
    noisy[wrong] = torch.from_numpy(random.integers(0, CLASSES, int(wrong.sum())))
    inside = random.random((models, IMAGES)) < 0.5
    losses, right = np.empty((models, IMAGES)), []
    for number in range(models):
        member = torch.from_numpy(inside[number])
        model = train(targets[member], noisy[member], number)
        with torch.no_grad():
            losses[number] = functional.cross_entropy(model(targets), noisy, reduction="none").numpy()
            right.append(float((model(images[place[IMAGES:]]).argmax(1) == labels[place[IMAGES:]]).float().mean()))
    by_loss = np.mean([roc_auc_score(inside[n], -losses[n]) for n in range(models)])
    by_ratio = np.mean([roc_auc_score(inside[n], likelihood_ratios(losses, inside, n)) for n in range(models)])
    return float(by_loss), float(by_ratio), float(np.mean(right))


def likelihood_ratios(losses: np.ndarray, inside: np.ndarray, target: int) -> np.ndarray:
    """Return LiRA's statistic of each image for one model, the others being the shadows."""
    scale = np.log(-np.expm1(-losses - 1e-9)) + losses  # the loss on the scale of log-odds, which is near normal
    score, shadows = -scale, np.arange(len(losses)) != target
    ratios = np.zeros(losses.shape[1])
    pooled = score[shadows].std() + 1e-6
    for image in range(losses.shape[1]):
        groups = [score[shadows & (inside[:, image] == flag), image] for flag in (True, False)]
        if min(map(len, groups)) < 2:
            continue
        with_it, without = (-0.5 * ((score[target, image] - group.mean()) / pooled) ** 2 for group in groups)
        ratios[image] = with_it - without
    return ratios


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--models", type=int, default=12)
    asked, start = parser.parse_args(), time.perf_counter()
    torch.set_num_threads(1)
    print("| control | best image, dB (mean over seeds) | lowest to highest |\n| --- | --- | --- |")
    for shown in SHOWN:
        found = inversion(shown, seeds=range(asked.seeds))
        print(f"| {shown.name} | {np.mean(found):.1f} | {min(found):.1f} to {max(found):.1f} |", flush=True)
    print("\n| control | loss attack, AUC | LiRA, AUC | accuracy on others |\n| --- | --- | --- | --- |")
    for name, train in TRAINED.items():
        by_loss, by_ratio, accuracy = membership(train, asked.models)
        print(f"| {name} | {by_loss:.3f} | {by_ratio:.3f} | {accuracy:.3f} |", flush=True)
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
