"""Which studies to ask a PACS for, the same for C-FIND and QIDO-RS."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from silo_node.wire.errors import BadInput

_DATE = re.compile(r"^\d{8}$")


@dataclass(frozen=True)
class StudyQuery:
    """Filters of a search; absent ones match everything. Texts may hold the wildcards ``*`` and ``?``."""

    study: str | None = None
    """Study Instance UID."""

    patient: str | None = None
    accession: str | None = None
    modality: str | None = None
    """A modality that the study has, such as CT."""

    description: str | None = None
    since: str | None = None
    """First study date, YYYYMMDD."""

    until: str | None = None
    """Last study date, YYYYMMDD."""

    def __post_init__(self) -> None:
        """Raise ``search-invalid`` for what no PACS understands, and for a search without any filter."""
        if not all(_DATE.match(date) for date in (self.since, self.until) if date):
            raise BadInput("search-invalid", "a date is written YYYYMMDD")
        if not self.keys():
            raise BadInput("search-invalid", "give at least one filter; a whole PACS is not taken in at once")

    def keys(self) -> dict[str, str]:
        """Return the filters by DICOM keyword."""
        found: Mapping[str, str | None] = {
            "StudyInstanceUID": self.study,
            "PatientID": self.patient,
            "AccessionNumber": self.accession,
            "ModalitiesInStudy": self.modality,
            "StudyDescription": self.description,
            "StudyDate": f"{self.since or ''}-{self.until or ''}" if self.since or self.until else None,
        }
        return {keyword: value for keyword, value in found.items() if value}


@dataclass(frozen=True)
class FoundStudy:
    """A study as a PACS names it."""

    study: str
    instances: int | None
    """How many objects it has there, where the PACS tells."""
