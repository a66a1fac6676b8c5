"""A PNG image and its label map. Its text chunks stay behind, and are searched for in the output."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3
from PIL import Image

from silo_node.deidentify.identifiers import Identifiers, texts
from silo_node.intake.arrays import LARGEST_IMAGE, label_values, storable
from silo_node.intake.paths import read_limited
from silo_node.intake.silence import silent_decoders
from silo_node.intake.source import SourceCase
from silo_node.wire.errors import BadInput, MedSiloError

if TYPE_CHECKING:
    from silo_node.intake.source import Array

_GREY = ("1", "L", "I", "I;16", "I;16B")


def read_png(path: Path, label_path: Path | None) -> SourceCase:
    """Read an image, (rows, columns) or (3, rows, columns), and a label map of grey values or palette numbers.

    Raises :class:`BadInput`: ``image-invalid``, and ``file-undecodable`` for a damaged file.
    """
    try:
        with silent_decoders():
            return _read(path, label_path)
    except MedSiloError:
        raise
    except Exception:
        # Pillow raises errors of many kinds for damaged files.
        raise BadInput("file-undecodable") from None


def _read(path: Path, label_path: Path | None) -> SourceCase:
    with _open(path) as image:
        values, said = _pixels(image), [str(text) for text in image.info.values()]
    label_map = None
    if label_path is not None:
        with _open(label_path) as labels:
            label_map = label_values(_numbers(labels), values.shape[-2:])
    return SourceCase(
        identity=(),
        content=blake3(read_limited(path)).digest(),
        patient="",
        image=values,
        spacing_mm=None,
        label_map=label_map,
        identifiers=Identifiers(other=texts(said)),
    )


def _open(path: Path) -> Image.Image:
    if not path.is_file():
        raise BadInput("file-undecodable", "it cannot be read")
    image = Image.open(path, formats=("PNG",))
    if image.width * image.height * 4 > LARGEST_IMAGE:
        image.close()
        raise BadInput("image-invalid", "it is too large")
    return image


def _pixels(image: Image.Image) -> "Array":
    if image.mode in _GREY:
        return storable(np.asarray(image))
    # A transparent pixel has a colour below it, which a viewer does not show; it is not taken for the image.
    return storable(np.moveaxis(np.asarray(image.convert("RGB")), -1, 0))


def _numbers(image: Image.Image) -> "Array":
    if image.mode not in (*_GREY, "P"):
        raise BadInput("image-invalid", "the label map has colours instead of numbers")
    return np.asarray(image)
