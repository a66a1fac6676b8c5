"""The de-identification profile for a privacy officer: each option of PS3.15 Annex E, and what is done about it.

The codes are those of context group 7050 (PS3.16). An exported object carries them in its De-identification Method Code
Sequence (0012,0064).
"""

import re
from dataclasses import dataclass
from typing import Literal

from silo_node.deidentify.attributes import VOCABULARY

PROFILE = "MedSilo allow-list 2"
"""Name and version of the profile; a change of what is kept is a new version."""

Taken = Literal["yes", "in part", "no"]


@dataclass(frozen=True)
class Option:
    """One option of the standard."""

    code: str
    meaning: str
    arrays: Taken
    """Whether it applies to the arrays that models see."""

    files: Taken
    """Whether it applies to exported DICOM files."""

    how: str


OPTIONS = (
    Option(
        "113100",
        "Basic Application Confidentiality Profile",
        "yes",
        "yes",
        "Nothing is cleaned element by element: what is not on the list of kept attributes does not come through,"
        " private elements and unknown SOP classes among it.",
    ),
    Option(
        "113101",
        "Clean Pixel Data Option",
        "no",
        "no",
        "Pixels are not edited. Images whose header gives reason to think that they show text are refused unless the"
        " site's policy allows that reason.",
    ),
    Option(
        "113102",
        "Clean Recognizable Visual Features Option",
        "no",
        "no",
        "Faces are not removed. Head scans are refused unless the site's policy allows them.",
    ),
    Option(
        "113103",
        "Clean Graphics Option",
        "yes",
        "yes",
        "Overlay planes and graphics in spare bits are dropped; images with overlay planes are refused unless allowed.",
    ),
    Option(
        "113104", "Clean Structured Content Option", "no", "no", "Reports and other documents are not taken in at all."
    ),
    Option("113105", "Clean Descriptors Option", "no", "no", "Descriptions and comments are dropped, not cleaned."),
    Option(
        "113106",
        "Retain Longitudinal Temporal Information Full Dates Option",
        "no",
        "no",
        "No date is kept as it was.",
    ),
    Option(
        "113107",
        "Retain Longitudinal Temporal Information Modified Dates Option",
        "no",
        "yes",
        "Arrays carry no date. In files all dates of a patient move back by the same number of days, 1 to 365, drawn"
        " from the project's key.",
    ),
    Option(
        "113108",
        "Retain Patient Characteristics Option",
        "in part",
        "in part",
        "Sex, and age in bands of five years with 90 and over in one. Nothing else.",
    ),
    Option(
        "113109",
        "Retain Device Identity Option",
        "in part",
        "no",
        "Arrays: the maker as one of six words, field strength and tube voltage as scanners have them. No model, no"
        " serial number, no station.",
    ),
    Option(
        "113110",
        "Retain UIDs Option",
        "no",
        "no",
        "UIDs become 2.25 and 128 bits of HMAC-SHA256 under the project's key, consistently in every sequence.",
    ),
    Option("113111", "Retain Safe Private Option", "no", "no", "No private element is kept."),
    Option("113112", "Retain Institution Identity Option", "no", "no", "No institution, department or person is kept."),
)

FILE_CODES = tuple(option for option in OPTIONS if option.files != "no")
"""The options an exported object names in its header."""


def kept_attributes() -> dict[str, tuple[str, ...]]:
    """Return every attribute a case may keep and all values it may take, numbers in their order."""
    return {name: tuple(sorted(values, key=_by_number)) for name, values in sorted(VOCABULARY.items())}


def _by_number(value: str) -> tuple[float, str]:
    number = re.match(r"\d+(\.\d+)?", value)
    return (float(number.group()) if number else 0.0, value)
