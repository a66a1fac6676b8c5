"""What the index of objects knows of a DICOM file: its identity, read from the header without decoding any pixel."""

import io
import zlib
from dataclasses import dataclass

from blake3 import blake3
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from silo_node.intake.arrays import LARGEST_IMAGE
from silo_node.intake.silence import silent_decoders
from silo_node.wire.errors import BadInput, MedSiloError

_DEFLATED = b"1.2.840.10008.1.2.1.99"
_PREAMBLE = 128
_KEYWORDS = (
    "SOPInstanceUID",
    "SOPClassUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "PatientID",
    "Modality",
    "StudyDate",
    "AccessionNumber",
    "SpecificCharacterSet",
)
_LONGEST_UID = 64


@dataclass(frozen=True)
class ObjectHeader:
    """Who an object is. The source's own values: they stay in the private store."""

    instance: str
    series: str
    study: str
    patient: str
    """Patient ID, empty where the header has none; a table may know better."""

    sop_class: str
    transfer_syntax: str
    modality: str
    study_date: str
    accession: str
    digest: str
    """BLAKE3 of the transfer syntax and the data set, in hex.

    The file meta information before it names who wrote the file, and is another one on every way to here (PS3.10
    section 7.1), so it does not count.
    """


def read_header(data: bytes) -> ObjectHeader:
    """Read what identifies a DICOM file.

    Raises :class:`BadInput`: ``not-dicom``, ``image-invalid`` without the UIDs every composite object has or with a
    deflated data set that is far too large, ``file-undecodable`` for whatever a damaged header makes pydicom do.
    """
    try:
        with silent_decoders():
            check_inflated_size(data)
            dataset = dcmread(io.BytesIO(data), stop_before_pixels=True, specific_tags=list(_KEYWORDS))
            return _header(dataset, data)
    except MedSiloError:
        raise
    except InvalidDicomError:
        raise BadInput("not-dicom") from None
    except Exception:
        # A damaged file can make the parser raise anything, and its message may quote the file.
        raise BadInput("file-undecodable") from None


def _header(dataset: Dataset, data: bytes) -> ObjectHeader:
    instance, syntax = _instance(dataset), str(dataset.file_meta.get("TransferSyntaxUID", ""))
    return ObjectHeader(
        instance=instance,
        # Old samples lack the upper UIDs; an object is then a series of its own.
        series=_text(dataset, "SeriesInstanceUID") or instance,
        study=_text(dataset, "StudyInstanceUID") or instance,
        patient=_text(dataset, "PatientID"),
        sop_class=_text(dataset, "SOPClassUID"),
        transfer_syntax=syntax,
        modality=_text(dataset, "Modality").upper(),
        study_date=_text(dataset, "StudyDate"),
        accession=_text(dataset, "AccessionNumber"),
        digest=blake3(syntax.encode() + b"\0" + memoryview(data)[_data_set_at(data) :]).hexdigest(),
    )


def _data_set_at(data: bytes) -> int:
    """Return where the data set begins: after the file meta group, whose length its first element gives."""
    group_length = data[_PREAMBLE + 4 : _PREAMBLE + 16]
    if group_length[:8] != b"\x02\x00\x00\x00UL\x04\x00":
        return 0
    return _PREAMBLE + 16 + int.from_bytes(group_length[8:], "little")


def check_inflated_size(data: bytes) -> None:
    """Refuse a deflated data set that grows over what memory should hold, before pydicom inflates all of it at once."""
    if _DEFLATED not in data[132:4096]:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflater.decompress(data[_data_set_at(data) :], LARGEST_IMAGE)
    if inflater.unconsumed_tail:
        raise BadInput("image-invalid", "the deflated data set is too large")


def _instance(dataset: Dataset) -> str:
    value = _text(dataset, "SOPInstanceUID")
    if not value or len(value) > _LONGEST_UID:
        raise BadInput("image-invalid", "it has no SOP Instance UID")
    return value


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()
