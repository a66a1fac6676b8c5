"""A NIfTI volume and its label map: array, affine and spacing; the header's texts stay behind."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
from blake3 import blake3

from silo_node.deidentify.identifiers import Identifiers, texts
from silo_node.intake.arrays import LARGEST_IMAGE, label_values, storable
from silo_node.intake.paths import read_limited
from silo_node.intake.silence import silent_decoders
from silo_node.intake.source import SourceCase
from silo_node.wire.errors import BadInput, MedSiloError

if TYPE_CHECKING:
    from silo_node.intake.source import Array

AFFINE_TOLERANCE = 1e-3
"""How far, in mm, image and label map may differ in an entry of their affines; stored as 32-bit floats."""

_TEXT_FIELDS = ("descrip", "aux_file", "intent_name", "db_name", "data_type")


def read_nifti(path: Path, label_path: Path | None) -> SourceCase:
    """Read a volume (x, y, z) and its label map.

    Raises :class:`BadInput`: ``image-invalid`` for what is no volume or does not lie where its label map lies,
    ``file-undecodable`` for a damaged file.
    """
    try:
        with silent_decoders():
            return _read(path, label_path)
    except MedSiloError:
        raise
    except Exception:
        # gzip, nibabel and numpy each fail in their own ways on a damaged file.
        raise BadInput("file-undecodable") from None


def _read(path: Path, label_path: Path | None) -> SourceCase:
    volume = _open(path)
    values, affine = _values(volume), _affine(volume)
    label_map = None
    if label_path is not None:
        labels = _open(label_path)
        label_map = label_values(_values(labels), values.shape)
        if not np.allclose(affine, _affine(labels), rtol=0, atol=AFFINE_TOLERANCE):
            raise BadInput("image-invalid", "image and label map do not lie at the same place")
    return SourceCase(
        identity=(),
        content=blake3(read_limited(path)).digest(),
        patient="",
        image=storable(values),
        label_map=label_map,
        spacing_mm=tuple(float(length) for length in np.linalg.norm(affine[:3, :3], axis=0)),
        affine=tuple(tuple(float(entry) for entry in row) for row in affine),
        identifiers=_identifiers(volume),
    )


def _open(path: Path) -> Any:
    if not path.is_file():
        raise BadInput("file-undecodable", "it cannot be read")
    volume: Any = nibabel.load(path)
    shape = volume.shape
    if int(np.prod([int(extent) for extent in shape], dtype=np.float64)) * 4 > LARGEST_IMAGE:
        raise BadInput("image-invalid", "it is too large")
    return volume


def _values(volume: Any) -> "Array":
    values: Array = np.asanyarray(volume.dataobj)
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise BadInput("image-invalid", "it is not one volume of three dimensions")
    return values


def _affine(volume: Any) -> "np.ndarray[Any, np.dtype[np.float64]]":
    affine = np.asarray(volume.affine, dtype=np.float64)
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-9:
        raise BadInput("image-invalid", "its affine does not place it in space")
    return affine


def _identifiers(volume: Any) -> Identifiers:
    header = volume.header
    fields = [header[name].item() for name in _TEXT_FIELDS if name in header]
    extensions = [extension.get_content() for extension in getattr(header, "extensions", ())]
    return Identifiers(other=texts(_plain(value) for value in [*fields, *extensions]))


def _plain(value: object) -> str:
    return value.decode("latin-1").strip("\0 ") if isinstance(value, bytes) else str(value)
