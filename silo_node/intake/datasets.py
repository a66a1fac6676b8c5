"""Published layouts of image folders, read as if somebody had written a table of them.

The Medical Segmentation Decathlon's ``dataset.json`` lists images and label maps; a BIDS tree says by its names which
file is whose. Neither has a table of labels, so what a table would say is derived from them.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from silo_node.intake.source import Annotation
from silo_node.intake.table_cells import table_text, text_cells
from silo_node.wire.errors import BadInput

DECATHLON_FILE = "dataset.json"
_IMAGE_FOLDERS = ("anat", "ct", "func", "pet", "perf")
_NIFTI = (".nii", ".nii.gz")
_SUBJECT = re.compile(r"^sub-[A-Za-z0-9]+$")
_LABEL_SUFFIXES = ("dseg", "mask")
_MODALITIES = (("ct", "CT"), ("mr", "MR"), ("pet", "PT"))


def read_dataset(folder: Path) -> tuple[dict[str, Annotation], str | None]:
    """Return what the folder's layout says by path, and the modality of all its images where it tells.

    Raises :class:`BadInput`: ``file-missing``, ``dataset-unknown`` for a folder in neither layout,
    ``table-unreadable`` for a description that is damaged.
    """
    if not folder.is_dir():
        raise BadInput("file-missing", f"no folder {folder}")
    if (folder / DECATHLON_FILE).is_file():
        return read_decathlon(folder)
    rows = read_bids(folder)
    if not rows:
        raise BadInput("dataset-unknown", f"{folder} has neither {DECATHLON_FILE} nor sub-* folders with NIfTI images")
    return rows, None


def read_decathlon(folder: Path) -> tuple[dict[str, Annotation], str | None]:
    """Read ``dataset.json``: each image is of a patient of its own, since it does not say whose it is."""
    described = _json(folder / DECATHLON_FILE)
    rows: dict[str, Annotation] = {}
    for number, (image, label) in enumerate(_decathlon_pairs(described), 1):
        path = _below(image, number)
        if path in rows:
            raise BadInput("table-duplicate-key", f"{DECATHLON_FILE}: image {number} is listed twice")
        stem = PurePosixPath(path).name.removesuffix(".gz").removesuffix(".nii")
        label_path = None if label is None else _below(label, number)
        rows[path] = Annotation(row=number, patient=stem, label_path=label_path)
    return rows, _modality(described.get("modality"))


def read_bids(folder: Path) -> dict[str, Annotation]:
    """Read a tree of ``sub-<label>[/ses-<label>]/anat/*.nii.gz``, with label maps below ``derivatives``.

    A label map belongs to the image whose entities (``sub``, ``ses``, ``acq``, ``run``...) it has; it is called
    ``*_dseg`` or ``*_mask``. ``participants.tsv`` tells sex and age.
    """
    people, drawn = _participants(folder), _label_maps(folder)
    rows: dict[str, Annotation] = {}
    for number, path in enumerate(_images(folder), 1):
        subject = path.parts[0]
        person = people.get(subject, {})
        rows[path.as_posix()] = Annotation(
            row=number,
            patient=subject,
            label_path=_drawn_on(path, drawn),
            sex=person.get("sex"),
            age=person.get("age"),
            modality="CT" if _suffix(path) == "ct" else "PT" if path.parent.name == "pet" else "MR",
            undeclared=tuple(value for name, value in person.items() if name not in ("sex", "age")),
        )
    return rows


def _decathlon_pairs(described: Mapping[str, Any]) -> Iterator[tuple[object, object]]:
    listed = described.get("training")
    if not isinstance(listed, list):
        raise BadInput("table-unreadable", f"{DECATHLON_FILE} has no list training")
    for entry in listed:
        if not isinstance(entry, dict):
            raise BadInput("table-unreadable", f"{DECATHLON_FILE}: training is not a list of images")
        yield entry.get("image"), entry.get("label")
    unlabelled = described.get("test")
    for entry in unlabelled if isinstance(unlabelled, list) else []:
        yield (entry.get("image") if isinstance(entry, dict) else entry), None


def _json(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(table_text(path))
    except (ValueError, RecursionError):
        raise BadInput("table-unreadable", f"{path.name} is not JSON") from None
    if not isinstance(described, dict):
        raise BadInput("table-unreadable", f"{path.name} is not a JSON object")
    return described


def _below(text: object, number: int) -> str:
    path = PurePosixPath(text) if isinstance(text, str) else PurePosixPath()
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise BadInput("table-unreadable", f"{DECATHLON_FILE}: image {number} has no path below the folder")
    return path.as_posix()


def _modality(said: object) -> str | None:
    names = said.values() if isinstance(said, dict) else [said]
    first = str(next(iter(names), "")).lower()
    return next((code for word, code in _MODALITIES if first.startswith(word)), None)


def _images(folder: Path) -> list[PurePosixPath]:
    found = []
    for path in folder.glob("sub-*/**/*"):
        below = PurePosixPath(path.relative_to(folder).as_posix())
        if (
            path.name.endswith(_NIFTI)
            and _SUBJECT.match(below.parts[0])
            and below.parent.name in _IMAGE_FOLDERS
            and _suffix(below) not in _LABEL_SUFFIXES
        ):
            found.append(below)
    return sorted(found)


def _label_maps(folder: Path) -> list[PurePosixPath]:
    found = (path for top in ("derivatives", ".") for path in (folder / top).glob("**/*") if path.name.endswith(_NIFTI))
    below = {PurePosixPath(path.relative_to(folder).as_posix()) for path in found}
    return sorted(path for path in below if _suffix(path) in _LABEL_SUFFIXES)


def _drawn_on(image: PurePosixPath, drawn: list[PurePosixPath]) -> str | None:
    """Return the one label map that has all of the image's entities; none where several have."""
    matching = [path for path in drawn if _entities(image) <= _entities(path)]
    return matching[0].as_posix() if len(matching) == 1 else None


def _entities(path: PurePosixPath) -> frozenset[str]:
    """Return ``sub-01``, ``ses-2``, ``acq-x``... of a file's name."""
    return frozenset(part for part in path.name.partition(".")[0].split("_") if "-" in part)


def _suffix(path: PurePosixPath) -> str:
    return path.name.partition(".")[0].rpartition("_")[2].lower()


def _participants(folder: Path) -> dict[str, dict[str, str]]:
    path = folder / "participants.tsv"
    if not path.is_file():
        return {}
    header, rows = text_cells(table_text(path), "\t")
    if "participant_id" not in header:
        raise BadInput("table-column-missing", "participants.tsv has no column participant_id")
    people = (dict(zip(header, cells, strict=True)) for _, cells in rows)
    return {
        person.pop("participant_id"): {name: value for name, value in person.items() if value not in ("", "n/a")}
        for person in people
    }
