"""One DICOM object, written anew from what is kept: valid, marked as de-identified, consistent with its siblings."""

from copy import deepcopy
from datetime import date, timedelta
from typing import Any

import numpy as np
from pydicom import Dataset, FileMetaDataset
from pydicom.pixels.utils import pixel_array
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian

from silo_node.deidentify.attributes import SEXES, age_band, body_region, normal_maker, years_between, years_from_text
from silo_node.deidentify.profile import FILE_CODES, PROFILE
from silo_node.deidentify.pseudonyms import Pseudonyms
from silo_node.export.kept import EMPTY, REPLACED_UIDS, SEQUENCES, SHIFTED_DATES, UNCHANGED
from silo_node.intake.dicom_image import header_text, without_embedded_overlays
from silo_node.wire.errors import BadInput

IMPLEMENTATION = ("2.25.111780969579379339397081315309589737656", "MEDSILO")
"""Class UID and version name of this software in the files it writes (PS3.7 annex D.3.3.2)."""

_STANDARD = "1.2.840.10008."


def rewritten(source: Dataset, patient: str, pseudonyms: Pseudonyms) -> Dataset:
    """Return a new object for a source's; ``patient`` is the source's own patient id.

    Pixels are decoded and written uncompressed: a compressed stream may hold comments, and spare bits graphics. Raises
    ``image-invalid`` for an object without a class, an instance UID or pixels.
    """
    if "PixelData" not in source or not header_text(source, "SOPInstanceUID"):
        raise BadInput("image-invalid", "it has no pixels or no SOP Instance UID")
    plain = deepcopy(source)
    if plain.file_meta.TransferSyntaxUID.is_compressed:
        plain.decompress(generate_instance_uid=False)
    result = _kept(plain, pseudonyms)
    _name(result, plain, patient, pseudonyms)
    _shift_dates(result, plain, pseudonyms.date_shift(patient))
    _mark(result)
    _add_pixels(result, plain)
    _add_file_meta(result)
    return result


def shifted_dates(source: Dataset, shift: int) -> dict[str, str]:
    """Return the dates of an object that are kept, moved; texts that are no dates are left out."""
    found = {keyword: _shifted(header_text(source, keyword), shift) for keyword in SHIFTED_DATES}
    return {keyword: text for keyword, text in found.items() if text}


def _kept(source: Dataset, pseudonyms: Pseudonyms) -> Dataset:
    """Return the elements that are kept, in all sequences that are; private ones and overlays have no keyword here."""
    result = Dataset()
    for element in source:
        if element.keyword in UNCHANGED:
            result[element.tag] = element
        elif element.keyword in REPLACED_UIDS and element.value:
            setattr(result, element.keyword, _uid(element.value, pseudonyms))
        elif element.keyword in SEQUENCES:
            setattr(result, element.keyword, Sequence([_kept(item, pseudonyms) for item in element.value or ()]))
    return result


def _uid(value: Any, pseudonyms: Pseudonyms) -> Any:
    if not isinstance(value, str):
        return [_uid(part, pseudonyms) for part in value]
    return value if value.startswith(_STANDARD) else pseudonyms.uid(value)


def _name(result: Dataset, source: Dataset, patient: str, pseudonyms: Pseudonyms) -> None:
    pseudonym = pseudonyms.patient(patient)
    result.PatientID, result.PatientName = pseudonym, pseudonym[:16]
    sex = SEXES.get(header_text(source, "PatientSex").lower(), "")
    result.PatientSex = sex.upper()
    age = years_from_text(header_text(source, "PatientAge"))
    if age is None:
        age = years_between(header_text(source, "PatientBirthDate"), header_text(source, "StudyDate"))
    band = age_band(age)
    if band is not None:
        # The band's lower end: an age string has no other way to say it.
        result.PatientAge = f"{int(band.partition('-')[0].rstrip('+')):03d}Y"
    result.Manufacturer = (normal_maker(header_text(source, "Manufacturer")) or "").upper()
    region = body_region(header_text(source, "BodyPartExamined"))
    if region is not None:
        result.BodyPartExamined = header_text(source, "BodyPartExamined").upper()


def _shift_dates(result: Dataset, source: Dataset, shift: int) -> None:
    for keyword in EMPTY:
        setattr(result, keyword, "")
    result.StudyDate = ""
    if "FrameOfReferenceUID" in result:
        result.PositionReferenceIndicator = ""
    for keyword, text in shifted_dates(source, shift).items():
        setattr(result, keyword, text)


def _shifted(text: str, shift: int) -> str:
    try:
        moved = date(int(text[:4]), int(text[4:6]), int(text[6:8])) + timedelta(days=shift)
    except (ValueError, OverflowError):
        return ""
    return f"{moved:%Y%m%d}"


def _mark(result: Dataset) -> None:
    result.PatientIdentityRemoved = "YES"
    result.DeidentificationMethod = PROFILE
    result.LongitudinalTemporalInformationModified = "MODIFIED"
    result.DeidentificationMethodCodeSequence = Sequence([_code(option.code, option.meaning) for option in FILE_CODES])


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item


def _add_pixels(result: Dataset, plain: Dataset) -> None:
    if int(plain.BitsAllocated) not in (8, 16):
        raise BadInput("image-invalid", "its pixels have an unusual number of bits")
    if int(plain.SamplesPerPixel) == 1:
        clean = without_embedded_overlays(pixel_array(plain, raw=True), plain)
        data = np.ascontiguousarray(clean).astype(clean.dtype.newbyteorder("<")).tobytes()
    else:
        data = bytes(plain.PixelData)
    result.add_new(0x7FE00010, "OB" if int(plain.BitsAllocated) == 8 else "OW", data + b"\0" * (len(data) % 2))


def _add_file_meta(result: Dataset) -> None:
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    result.file_meta.MediaStorageSOPClassUID = result.SOPClassUID
    result.file_meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    result.file_meta.ImplementationClassUID = UID(IMPLEMENTATION[0])
    result.file_meta.ImplementationVersionName = IMPLEMENTATION[1]
