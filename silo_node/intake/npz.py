"""Images in NumPy archives. Pickled objects are never loaded: they could run code."""

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from blake3 import blake3

from silo_node.intake.arrays import LARGEST_IMAGE, label_values, storable
from silo_node.intake.source import SourceCase
from silo_node.wire.errors import BadInput, MedSiloError

if TYPE_CHECKING:
    from silo_node.intake.source import Array

NAMES = ("images", "image")
"""The array that holds the images, where an archive holds several; a label map's archive likewise."""

_OPEN_ARCHIVES = 2


class NpzImages:
    """Reads single images out of archives, keeping the last ones in memory."""

    def __init__(self) -> None:
        self._open: OrderedDict[Path, Array] = OrderedDict()

    def read(self, folder: Path, path: str, label_path: str | None) -> SourceCase:
        """Return the image ``file.npz#index``, or all of ``file.npz``; raises ``image-invalid``."""
        picked = self._pick(folder, path)
        image = storable(picked)
        label_map = None if label_path is None else label_values(self._pick(folder, label_path), image.shape)
        if image.ndim not in (2, 3):
            raise BadInput("image-invalid", "it has neither two nor three dimensions")
        return SourceCase(
            identity=(), content=_content(picked), patient="", image=image, spacing_mm=None, label_map=label_map
        )

    def _pick(self, folder: Path, path: str) -> "Array":
        file, mark, index = path.partition("#")
        images = self._archive(folder / file)
        if mark and not 0 <= int(index) < len(images):
            raise BadInput("image-invalid", "the archive has no image of that number")
        return images[int(index)] if mark else images

    def _archive(self, path: Path) -> "Array":
        if path not in self._open:
            self._open[path] = _load(path)
            if len(self._open) > _OPEN_ARCHIVES:
                self._open.popitem(last=False)
        self._open.move_to_end(path)
        return self._open[path]


def npz_length(path: Path) -> int | None:
    """Return how many images an archive holds, from its header alone; None when it cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(f"{_chosen(archive)}.npy") as member:
            version = np.lib.format.read_magic(member)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape = read(member)[0]
            return int(shape[0]) if shape else None
    except Exception:
        # Whatever is wrong with the archive is told when its images are read, and quarantined.
        return None


def _load(path: Path) -> "Array":
    try:
        with zipfile.ZipFile(path) as archive:
            name = _chosen(archive)
            if archive.getinfo(f"{name}.npy").file_size > LARGEST_IMAGE:
                raise BadInput("image-invalid", "the archive is too large")
        with np.load(path, allow_pickle=False) as arrays:
            loaded: Array = arrays[name]
            return loaded
    except MedSiloError:
        raise
    except Exception:
        # A damaged archive can fail in zipfile, zlib or numpy, in many ways.
        raise BadInput("file-undecodable") from None


def _chosen(archive: zipfile.ZipFile) -> str:
    names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    known = [name for name in NAMES if name in names]
    if known:
        return known[0]
    if len(names) != 1:
        raise BadInput("image-invalid", "the archive holds several arrays and none is called images")
    return names[0]


def _content(image: "Array") -> bytes:
    described = f"{image.dtype.str}{image.shape}".encode()
    return blake3(described + np.ascontiguousarray(image).tobytes()).digest()
