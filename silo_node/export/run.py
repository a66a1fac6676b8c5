"""Exporting objects of the private store to a folder: rewrite, search, write; what fails the search is not written."""

import io
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread

from silo_node.deidentify.dicom_identifiers import dicom_identifiers
from silo_node.deidentify.identifiers import Identifiers, dates
from silo_node.deidentify.pixel_risk import IMAGE_STORAGE, pixel_risks
from silo_node.deidentify.profile import FILE_CODES, PROFILE
from silo_node.deidentify.pseudonyms import Pseudonyms, load_site_key
from silo_node.deidentify.search import IdentifierSearch
from silo_node.export.rewrite import IMPLEMENTATION, rewritten, shifted_dates
from silo_node.intake.dicom_image import header_text, pixel_facts
from silo_node.intake.objects.files import ObjectFiles
from silo_node.intake.objects.index import ObjectIndex, ObjectRow
from silo_node.intake.silence import silent_decoders
from silo_node.state import Home, write_private
from silo_node.wire.errors import BadInput, IntegrityError, MedSiloError

REPORT_FILE = "export.json"
Progress = Callable[[int, int], None]


@dataclass
class Exported:
    """What became of the objects."""

    written: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By code; ``identifier-leak`` means that this software has a fault, and nothing of that object was written."""

    patients: set[str] = field(default_factory=set)
    """By the project's pseudonym."""


def export_objects(
    home: Home,
    out: Path,
    *,
    project: str,
    collection: str,
    allowed_risks: frozenset[str],
    progress: Progress = lambda done, total: None,
) -> Exported:
    """Write every image of a collection to ``out``, de-identified under a project's own pseudonyms.

    Raises ``already-exists`` where ``out`` is not empty: two exports are never mixed.
    """
    if out.exists() and any(out.iterdir()):
        raise BadInput("already-exists", f"{out} is not empty")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    pseudonyms = Pseudonyms(load_site_key(home.site_key_file)).project(project)
    files, exported = ObjectFiles(home), Exported()
    with ObjectIndex(home) as index:
        rows = list(index.objects_of_collection(collection))
    for done, row in enumerate(rows):
        progress(done, len(rows))
        try:
            patient, data, place = _export(row, files, pseudonyms, allowed_risks)
        except MedSiloError as refusal:
            exported.refused[refusal.code] += 1
            continue
        _write(out / place, data)
        exported.written += 1
        exported.patients.add(patient)
    progress(len(rows), len(rows))
    write_private(out / REPORT_FILE, json.dumps(_document(exported, project), indent=2).encode())
    return exported


def _export(
    row: ObjectRow, files: ObjectFiles, pseudonyms: Pseudonyms, allowed_risks: frozenset[str]
) -> tuple[str, bytes, Path]:
    if row.sop_class not in IMAGE_STORAGE:
        raise BadInput("sop-class-refused")
    source_patient = (row.annotation and row.annotation.patient) or row.patient
    if not source_patient:
        raise BadInput("patient-missing")
    try:
        with silent_decoders():
            source = dcmread(io.BytesIO(files.read(row)))
            if pixel_risks(pixel_facts(source)) - allowed_risks:
                raise BadInput("pixel-risk")
            result = rewritten(source, source_patient, pseudonyms)
            data = _checked(result, source, source_patient, pseudonyms)
    except MedSiloError:
        raise
    except Exception:
        # A damaged file can make a decoder raise anything, and its message may quote the file.
        raise BadInput("file-undecodable") from None
    place = Path(result.PatientID, result.StudyInstanceUID, result.SeriesInstanceUID, f"{result.SOPInstanceUID}.dcm")
    return str(result.PatientID), data, place


def _checked(result: Dataset, source: Dataset, patient: str, pseudonyms: Pseudonyms) -> bytes:
    """Return an object's bytes; raises ``identifier-leak`` where they hold a text of the source."""
    out = io.BytesIO()
    result.save_as(out, enforce_file_format=True)
    data = out.getvalue()
    said = dicom_identifiers(source) | Identifiers(certain=frozenset({patient.lower()}))
    moved = shifted_dates(source, pseudonyms.date_shift(patient)).values()
    # A moved date may be the day of another event of the same patient, and a code's word one of the header's.
    own = {
        *dates(moved),
        *IMPLEMENTATION,
        *(option.meaning for option in FILE_CODES),
        PROFILE,
        header_text(result, "BodyPartExamined"),
    }
    pixels = data.rindex(bytes(result.PixelData)[:64]) if len(result.PixelData) else len(data)
    if IdentifierSearch(said, allowed=own).in_bytes(data[:pixels]):
        raise IntegrityError("identifier-leak")
    if IdentifierSearch(Identifiers(certain=said.certain), allowed=own).in_bytes(data[pixels:]):
        raise IntegrityError("identifier-leak")
    return data


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)


def _document(exported: Exported, project: str) -> dict[str, object]:
    return {
        "profile": PROFILE,
        "options": [{"code": option.code, "meaning": option.meaning} for option in FILE_CODES],
        "project": project,
        "written": exported.written,
        "patients": len(exported.patients),
        "refused": dict(sorted(exported.refused.items())),
    }
