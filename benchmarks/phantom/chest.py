"""A chest X-ray phantom: ellipses for body, lungs and heart, arcs for ribs, a soft blob for the finding.

Values are relative absorption in about 0..1, bright where much is absorbed. Everything comes from the generator that is
passed in, so the same seed makes the same chest. It resembles a chest enough to exercise a pipeline and no further:
nothing measured on it says anything about a clinical task.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

Image = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Scanner:
    """What a hospital's device does to an image: matrix size, blur in pixels at 64, noise, gamma, and its look."""

    size: int = 64
    blur: float = 0.5
    noise: float = 0.04
    gamma: float = 1.0


def chest(random: np.random.Generator, *, finding: bool, scanner: Scanner) -> Image:
    """Return one chest (size, size) as a scanner sees it, with or without an opacity in a lung."""
    y, x = _grid(scanner.size, random)
    image = _anatomy(y, x, random)
    image += _opacity(y, x, random) if finding else _innocent(y, x, random)
    image = ndimage.gaussian_filter(image, scanner.blur * scanner.size / 64)
    exposed: Image = np.clip(image, 0, None) ** scanner.gamma
    exposed += random.normal(0, scanner.noise, image.shape)
    return exposed


def _grid(size: int, random: np.random.Generator) -> tuple[Image, Image]:
    """Coordinates -1..1 of a patient who stands a little off centre, turned and of their own size."""
    axis = np.linspace(-1, 1, size)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    angle, scale = random.normal(0, 0.04), random.normal(1, 0.05)
    y, x = y - random.normal(0, 0.05), x - random.normal(0, 0.04)
    return scale * (np.cos(angle) * y - np.sin(angle) * x), scale * (np.sin(angle) * y + np.cos(angle) * x)


def _anatomy(y: Image, x: Image, random: np.random.Generator) -> Image:
    image = 0.10 + 0.50 * _ellipse(y, x, 0.1, 0.0, 0.95, 0.85)
    lungs = np.zeros_like(image)
    for side in (-1, 1):
        lungs += _ellipse(y, x, random.normal(-0.05, 0.03), side * 0.38, random.normal(0.58, 0.04), 0.27)
    image -= 0.34 * np.clip(lungs, 0, 1)
    image += 0.24 * _ellipse(y, x, 0.28, 0.12, 0.26, random.normal(0.30, 0.04))
    image += 0.16 * np.exp(-((x / 0.09) ** 2)) * _ellipse(y, x, 0.1, 0.0, 0.95, 0.85)
    return image + random.normal(0.055, 0.01) * _ribs(y, x, random) * np.clip(lungs, 0, 1)


def _ribs(y: Image, x: Image, random: np.random.Generator) -> Image:
    phase = random.uniform(0, 2 * np.pi)
    arcs: Image = np.clip(np.sin(22 * (y + 0.35 * x**2) + phase), 0, 1) ** 2
    return arcs


def _opacity(y: Image, x: Image, random: np.random.Generator) -> Image:
    """One or two soft blobs in a lung; the faint ones are as hard to see as they are in life."""
    image = np.zeros_like(y)
    for _ in range(1 + int(random.random() < 0.3)):
        row, column = random.uniform(-0.35, 0.35), random.choice((-1, 1)) * random.uniform(0.26, 0.50)
        radius, depth = random.uniform(0.13, 0.22), random.uniform(0.16, 0.34)
        image += depth * np.exp(
            -(((y - row) / radius) ** 2) - ((x - column) / (radius * random.uniform(0.8, 1.3))) ** 2
        )
    return image


def _innocent(y: Image, x: Image, random: np.random.Generator) -> Image:
    """What is no finding and may look like one: a vessel seen end-on in half of the normal chests."""
    if random.random() < 0.5:
        return np.zeros_like(y)
    row, column = random.uniform(-0.3, 0.3), random.choice((-1, 1)) * random.uniform(0.18, 0.30)
    image: Image = random.uniform(0.05, 0.15) * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 0.05**2)
    return image


def _ellipse(y: Image, x: Image, row: float, column: float, height: float, width: float) -> Image:
    """1 inside, 0 outside, with an edge soft enough to look exposed and not drawn."""
    distance = np.sqrt(((y - row) / height) ** 2 + ((x - column) / width) ** 2)
    image: Image = 1 / (1 + np.exp((distance - 1) * 18))
    return image
