"""Every text of a DICOM object that the output must not hold, from all elements, private ones and nested ones too."""

import re
from collections.abc import Iterator, MutableSequence
from dataclasses import dataclass, field

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from silo_node.deidentify.identifiers import Identifiers, dates, names, numbers, texts

DEEPEST = 32
LONGEST_BINARY = 65536
"""Longer binary values are images and curves; vendors' private headers, with text between numbers, are shorter."""

_READABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f]{6,}")
_TEXT = frozenset({"LO", "SH", "ST", "LT", "UT", "UC", "UI", "UR", "AE"})
_BINARY = frozenset({"UN", "OB", "OW"})
_TELLING = _TEXT | _BINARY | {"PN", "DA", "DT", "SQ", "UN", None}
"""Value representations that are collected, or may hold one that is. Implicit VR is None until converted."""

_STANDARD_UIDS = "1.2.840.10008."
_CERTAIN = frozenset(
    {
        0x00080050,  # Accession Number
        0x00080080,  # Institution Name
        0x00080081,  # Institution Address
        0x00081010,  # Station Name
        0x00100020,  # Patient ID
        0x00101000,  # Other Patient IDs
        0x00101040,  # Patient's Address
        0x00102154,  # Patient's Telephone Numbers
        0x00181000,  # Device Serial Number
        0x00200010,  # Study ID
    }
)


@dataclass
class _Found:
    names: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)
    dates: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def dicom_identifiers(dataset: Dataset) -> Identifiers:
    """Return the identifiers of a dataset and of its file meta information. Never raises for a damaged element."""
    found = _Found()
    for part in (dataset, getattr(dataset, "file_meta", None)):
        for element in _walk(part, 0) if part is not None else ():
            _collect(element, found)
    return Identifiers(
        certain=names(found.names) | numbers(found.numbers) | dates(found.dates),
        other=texts(text for text in found.texts if not text.startswith(_STANDARD_UIDS)),
    )


def _walk(dataset: Dataset, depth: int) -> Iterator[DataElement | RawDataElement]:
    for tag in list(dataset.keys()):
        # Converting is most of an intake's time, and vendors write hundreds of numbers and codes that tell nothing.
        if dataset.get_item(tag).VR not in _TELLING:
            continue
        element = _element(dataset, tag)
        yield element
        if isinstance(element, DataElement) and element.VR == "SQ" and depth < DEEPEST:
            for item in element.value or ():
                yield from _walk(item, depth + 1)


def _element(dataset: Dataset, tag: BaseTag) -> DataElement | RawDataElement:
    try:
        return dataset[tag]
    except Exception:
        # A value that cannot be converted is still bytes to look for.
        return dataset.get_item(tag)


def _collect(element: DataElement | RawDataElement, found: _Found) -> None:
    values = list(_strings(element))
    if element.VR == "PN":
        found.names.extend(values)
    elif element.VR in ("DA", "DT"):
        found.dates.extend(values)
    elif int(element.tag) in _CERTAIN:
        found.numbers.extend(values)
    elif element.VR in _TEXT or element.VR in _BINARY or element.VR is None:
        found.texts.extend(values)


def _strings(element: DataElement | RawDataElement) -> Iterator[str]:
    value = element.value
    if isinstance(value, bytes):
        if len(value) <= LONGEST_BINARY:
            yield from _READABLE.findall(value.decode("latin-1"))
    elif isinstance(value, (MutableSequence, list, tuple)):
        yield from (str(part) for part in value) if element.VR != "SQ" else ()
    elif value is not None and element.VR != "SQ":
        yield str(value)
