"""One DICOM file: from bytes to an array in the modality's units, its facts and its identifiers.

Single-frame images for now. A series is one case when its slices form a volume (sorted along the normal, PS3.3
C.7.6.2); that step will take the images this module decodes.
"""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from blake3 import blake3
from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.pixels.processing import apply_modality_lut
from pydicom.pixels.utils import pixel_array

from silo_node.deidentify.attributes import attributes, normal_modality, years_between, years_from_text
from silo_node.deidentify.dicom_identifiers import dicom_identifiers
from silo_node.deidentify.pixel_risk import IMAGE_STORAGE, PixelFacts, pixel_risks
from silo_node.intake.arrays import LARGEST_IMAGE, storable
from silo_node.intake.objects.header import check_inflated_size
from silo_node.intake.silence import silent_decoders
from silo_node.intake.source import Annotation, SourceCase
from silo_node.wire.errors import BadInput, MedSiloError

if TYPE_CHECKING:
    from silo_node.intake.source import Array

_GREY = ("MONOCHROME1", "MONOCHROME2")
_SAYS_BODY_PART = ("BodyPartExamined", "StudyDescription", "SeriesDescription", "ProtocolName")
"""Body Part Examined is often empty; the descriptions say it then, in words that err to the careful side."""

_COLOUR = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")


def read_dicom(data: bytes, annotation: Annotation | None) -> SourceCase:
    """Decode one DICOM file's bytes.

    Raises :class:`BadInput`: ``not-dicom``, ``sop-class-refused``, ``patient-missing``, ``image-invalid`` for what is
    not a single image, ``file-undecodable`` for whatever a decoder fails at.
    """
    try:
        with silent_decoders():
            dataset = _dataset(data)
            return _case(dataset, data, annotation or Annotation())
    except MedSiloError:
        raise
    except InvalidDicomError:
        raise BadInput("not-dicom") from None
    except Exception:
        # A damaged file can make a decoder raise anything, and its message may quote the file.
        raise BadInput("file-undecodable") from None


def _dataset(data: bytes) -> Dataset:
    check_inflated_size(data)
    return dcmread(io.BytesIO(data))


def _case(dataset: Dataset, data: bytes, annotation: Annotation) -> SourceCase:
    if header_text(dataset, "SOPClassUID") not in IMAGE_STORAGE:
        raise BadInput("sop-class-refused")
    instance = header_text(dataset, "SOPInstanceUID")
    patient = annotation.patient or header_text(dataset, "PatientID")
    if not instance:
        raise BadInput("image-invalid", "it has no SOP Instance UID")
    if not patient:
        raise BadInput("patient-missing")
    return SourceCase(
        identity=("dicom", instance),
        content=blake3(data).digest(),
        patient=patient,
        image=image_array(dataset),
        spacing_mm=_spacing(dataset),
        label=annotation.label,
        split=annotation.split,
        modality=normal_modality(header_text(dataset, "Modality")),
        attributes=header_attributes(dataset, annotation),
        risks=pixel_risks(pixel_facts(dataset)),
        identifiers=dicom_identifiers(dataset),
    )


def image_array(dataset: Dataset) -> "Array":
    """Return (rows, columns), or (3, rows, columns) for colour: modality values, bright where the tissue is dense.

    Rescale Slope and Intercept or the Modality LUT are applied (PS3.3 C.11.1) and MONOCHROME1 is inverted over the
    range of the stored bits, so that the same tissue is bright in images of either kind.
    """
    _check_single_image(dataset)
    stored = without_embedded_overlays(pixel_array(dataset), dataset)
    if dataset.PhotometricInterpretation in _COLOUR:
        return storable(np.moveaxis(stored, -1, 0))
    values = np.asarray(apply_modality_lut(upright(stored, dataset), dataset))
    return storable(values)


def _check_single_image(dataset: Dataset) -> None:
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    samples, photometric = int(dataset.get("SamplesPerPixel", 1)), dataset.PhotometricInterpretation
    if int(dataset.get("NumberOfFrames", None) or 1) != 1:
        raise BadInput("image-invalid", "it has several frames")
    if (samples, photometric in _GREY, photometric in _COLOUR) not in ((1, True, False), (3, False, True)):
        raise BadInput("image-invalid", "its colours are coded in a way that is not taken in")
    if rows * columns * samples * 4 > LARGEST_IMAGE:
        raise BadInput("image-invalid", "it is too large")


def without_embedded_overlays(stored: "Array", dataset: Dataset) -> "Array":
    """Clear the bits above Bits Stored, where old devices draw overlays, names among them (PS3.5 section 8)."""
    if not np.issubdtype(stored.dtype, np.integer):
        return stored
    spare = stored.dtype.itemsize * 8 - int(dataset.BitsStored)
    if spare <= 0:
        return stored
    cleared: Array = (stored << spare) >> spare
    return cleared


def upright(stored: "Array", dataset: Dataset) -> "Array":
    """Invert MONOCHROME1 over the range of the stored bits; other images stay as they are."""
    if dataset.PhotometricInterpretation != "MONOCHROME1":
        return stored
    signed, bits = int(dataset.PixelRepresentation), int(dataset.BitsStored)
    lowest_plus_highest = -1 if signed else 2**bits - 1
    return lowest_plus_highest - stored.astype(np.int32)


def pixel_facts(dataset: Dataset) -> PixelFacts:
    """Return what the rules about risky pixels look at."""
    image_type, tags = dataset.get("ImageType") or (), dataset.keys()
    return PixelFacts(
        sop_class=header_text(dataset, "SOPClassUID"),
        modality=header_text(dataset, "Modality").upper(),
        burned_in_annotation=header_text(dataset, "BurnedInAnnotation").upper(),
        image_type=tuple(str(part).upper() for part in ([image_type] if isinstance(image_type, str) else image_type)),
        body_part=" ".join(header_text(dataset, keyword) for keyword in _SAYS_BODY_PART).upper(),
        overlays=any(0x6000 <= tag.group <= 0x601E for tag in tags),
    )


def header_attributes(dataset: Dataset, annotation: Annotation) -> dict[str, str]:
    """Return the listed attributes of an image; what a table says goes before the header."""
    age = years_from_text(annotation.age or header_text(dataset, "PatientAge"))
    if age is None:
        study = header_text(dataset, "StudyDate") or header_text(dataset, "AcquisitionDate")
        age = years_between(header_text(dataset, "PatientBirthDate"), study)
    return attributes(
        maker=annotation.maker or header_text(dataset, "Manufacturer"),
        sex=annotation.sex or header_text(dataset, "PatientSex"),
        age_years=age,
        view=header_text(dataset, "ViewPosition"),
        body_part=header_text(dataset, "BodyPartExamined"),
        tesla=_number(dataset, "MagneticFieldStrength"),
        kilovolts=_number(dataset, "KVP"),
    )


def _spacing(dataset: Dataset) -> tuple[float, ...] | None:
    spacing: Any = dataset.get("PixelSpacing") or dataset.get("ImagerPixelSpacing")
    if not spacing:
        return None
    millimetres = tuple(float(part) for part in spacing)
    if len(millimetres) != 2 or not all(0 < part < 1000 for part in millimetres):
        raise BadInput("image-invalid", "its pixel spacing is not two positive lengths")
    return millimetres


def _number(dataset: Dataset, keyword: str) -> float | None:
    try:
        return float(header_text(dataset, keyword))
    except ValueError:
        return None


def header_text(dataset: Dataset, keyword: str) -> str:
    """Return an element as text, empty where there is none."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()
