"""Unique markers for every place of a DICOM object that can hold text, and the search that finds them again."""

import re
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

MARKER = re.compile(
    rb"mrk[0-9]{5}|m\x00r\x00k\x00([0-9]\x00){5}|3680043\.8\.770077\.|1770077[0-9]{3}"
    rb"|(?<![0-9a-f])1777[01][0-9][0-3][0-9](?![a-f])|1777-[01][0-9]-[0-3][0-9]|[0-3][0-9]\.[01][0-9]\.1777",
    re.IGNORECASE,
)
"""Texts, UIDs, numbers, and dates of the year 1777 in three spellings."""

TEXT_ELEMENTS = {
    0x00080050: "SH",  # Accession Number
    0x00080054: "AE",  # Retrieve AE Title
    0x00080080: "LO",  # Institution Name
    0x00080081: "ST",  # Institution Address
    0x00080090: "PN",  # Referring Physician's Name
    0x00080119: "UC",  # Long Code Value
    0x00081010: "SH",  # Station Name
    0x00081030: "LO",  # Study Description
    0x0008103E: "LO",  # Series Description
    0x00081070: "PN",  # Operators' Name
    0x00081190: "UR",  # Retrieve URL
    0x00100010: "PN",  # Patient's Name
    0x00100020: "LO",  # Patient ID
    0x00101040: "LO",  # Patient's Address
    0x00102203: "CS",  # Patient's Sex Neutered
    0x00104000: "LT",  # Patient Comments
    0x00181000: "LO",  # Device Serial Number
    0x00181030: "LO",  # Protocol Name
    0x00200010: "SH",  # Study ID
    0x00204000: "LT",  # Image Comments
    0x0040A160: "UT",  # Text Value
}
DATES = (0x00080020, 0x00080021, 0x00080022, 0x00080023, 0x00100030)
"""Study, Series, Acquisition, Content and Birth Date."""

BYTES = ("OB", "OW", "OF", "OD", "OL", "OV", "UN")


class Markers:
    """A counter that spells itself in every value representation."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"MRK{self.count:05d}"

    def uid(self) -> str:
        self.count += 1
        return f"1.2.826.0.1.3680043.8.770077.{self.count}"

    def number(self) -> str:
        self.count += 1
        return f"1770077{self.count % 1000:03d}"

    def date(self) -> str:
        self.count += 1
        return f"1777{self.count % 12 + 1:02d}{self.count % 28 + 1:02d}"


def plant(dataset: Dataset, marker: Markers) -> None:
    """Plant markers all over an object, its file meta information and its preamble among it."""
    for tag, vr in TEXT_ELEMENTS.items():
        dataset.add_new(tag, vr, marker())
    for tag in DATES:
        dataset.add_new(tag, "DA", marker.date())
    dataset.AcquisitionDateTime = marker.date() + "101500.123456"
    dataset.ImagesInAcquisition, dataset.PatientWeight = marker.number(), marker.number()
    dataset.IrradiationEventUID = marker.uid()
    dataset.RequestAttributesSequence = Sequence([_nested(marker)])
    dataset.ContentSequence = Sequence([_report_item(marker)])
    _plant_private(dataset, marker)
    dataset.add_new(0x60004000, "LT", marker())  # Overlay Comments
    dataset.file_meta.SourceApplicationEntityTitle = marker()
    dataset.preamble = marker().encode().ljust(128, b"\0")


def every_byte(root: Path, leave_out: Path | None = None) -> list[tuple[Path, bytes]]:
    """Return name and content of all that lies below a folder, names as bytes in the content."""
    paths = [path for path in root.rglob("*") if leave_out is None or not path.is_relative_to(leave_out)]
    return [(path, path.name.encode() + (path.read_bytes() if path.is_file() else b"")) for path in paths]


def _nested(marker: Markers) -> Dataset:
    """Return an item with three more inside one another, markers on each."""
    deep = Dataset()
    deep.PersonName, deep.TextValue, deep.CodeMeaning = marker(), marker(), marker()
    deep.ReferencedSOPInstanceUID, deep.ContentDate = marker.uid(), marker.date()
    for _ in range(3):
        outer = Dataset()
        outer.InstitutionName = marker()
        outer.ContentSequence = Sequence([deep])
        deep = outer
    return deep


def _report_item(marker: Markers) -> Dataset:
    """Return what a structured report says: a text and a person, in its own words."""
    item = Dataset()
    item.ValueType, item.TextValue, item.PersonName = "TEXT", marker(), marker()
    return item


def _plant_private(dataset: Dataset, marker: Markers) -> None:
    block = dataset.private_block(0x0099, "MRK VENDOR " + marker(), create=True)
    block.add_new(0x01, "LO", marker())
    block.add_new(0x02, "OB", marker().encode("utf-16-le"))
    inner = Dataset()
    inner.private_block(0x0099, "MRK INNER " + marker(), create=True).add_new(0x01, "LT", marker())
    block.add_new(0x03, "SQ", Sequence([inner]))
    for number, vr in enumerate(BYTES, start=0x10):
        block.add_new(number, vr, (b"\0\1" + marker().encode()).ljust(16, b"\0"))
