"""A source's case, de-identified: the files of a raw case, built by listing what is kept."""

from dataclasses import dataclass
from typing import Any

from safetensors.numpy import save

from silo_node.deidentify.output_check import IMAGE_FILE, LABEL_FILE, RECORD_FILE, check_output
from silo_node.deidentify.pseudonyms import Pseudonyms
from silo_node.intake.source import SourceCase
from silo_node.wire.canonical import canonical_bytes


@dataclass(frozen=True)
class RawCase:
    """What is written of a case, and nothing else of it is."""

    case_id: str
    patient: str
    labelled: bool
    files: dict[str, bytes]
    """By file name; the output check has passed on exactly these bytes."""

    @property
    def record(self) -> bytes:
        """Everything but the image: what may be corrected while the image stays the same."""
        return self.files[RECORD_FILE] + self.files.get(LABEL_FILE, b"")


def raw_case(case: SourceCase, pseudonyms: Pseudonyms) -> RawCase:
    """De-identify a case; raises ``identifier-leak`` when the result holds a text of its source."""
    case_id, patient = pseudonyms.case(*case.identity), pseudonyms.patient(case.patient)
    spatial = len(case.spacing_mm) if case.spacing_mm is not None else min(case.image.ndim, 3)
    record: dict[str, Any] = {
        "case": case_id,
        "patient": patient,
        "label": case.label,
        "split": case.split,
        "affine": case.affine and [list(row) for row in case.affine],
        # Where the source has no spacing, a pixel is the unit.
        "spacing_mm": list(case.spacing_mm or (1.0,) * spatial),
        "attributes": case.attributes,
    }
    files = {IMAGE_FILE: save({"image": case.image}), RECORD_FILE: canonical_bytes(record)}
    if case.label_map is not None:
        files[LABEL_FILE] = save({"label": case.label_map})
    check_output(case_id, files, case.identifiers)
    return RawCase(case_id, patient, case.label is not None or case.label_map is not None, files)
