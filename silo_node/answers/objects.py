"""A label map over a series as a DICOM segmentation, and its volumes as a structured report (TID 1500)."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import highdicom
import numpy as np
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from silo_node import __version__
from silo_node.series.geometry import Grid
from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from silo_node.intake.source import Array

_MAKER, _SOFTWARE = "MedSilo", "silo-node"
_PRIVATE_SCHEME = "99MEDSILO"
_PROCEDURES = {
    "CT": ("77477000", "Computed tomography"),
    "MR": ("113091000", "Magnetic resonance imaging"),
    "PT": ("82918005", "Positron emission tomography"),
}
"""SNOMED CT procedures by Modality (0008,0060)."""


@dataclass(frozen=True)
class Answer:
    """What a model answered for one series."""

    labels: "Array"
    """uint8 over the series' grid: 0 background, then the structures."""

    structures: tuple[str, ...]
    """Their names, from 1 on."""

    model: str
    """The model's name or digest, shown to the reader."""


def segmentation_object(slices: Sequence[Dataset], grid: Grid, answer: Answer) -> Dataset:
    """Return a Segmentation Storage object for a series' slices, in any order, with a segment for each structure.

    Raises ``segmentation-mismatch`` where the label map isn't of the grid's shape, ``label-unknown`` for a value that
    is no structure.
    """
    if answer.labels.shape != grid.shape:
        raise BadInput("segmentation-mismatch")
    if int(answer.labels.max()) > len(answer.structures):
        raise BadInput("label-unknown", "a voxel's value is no structure")
    ordered = [_readable(slices[index]) for index in grid.order]
    found: Dataset = highdicom.seg.Segmentation(
        source_images=ordered,
        pixel_array=np.stack([answer.labels[:, :, index].T for index in range(grid.shape[2])]),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_segment(number, name, answer) for number, name in enumerate(answer.structures, 1)],
        series_instance_uid=generate_uid(prefix=None),
        series_number=9001,
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_SOFTWARE,
        software_versions=__version__,
        device_serial_number="0",
        content_label="MODEL_ANSWER",
        content_description="A model's answer; not for diagnosis",
        series_description="Model segmentation; not for diagnosis",
        omit_empty_frames=False,
    )
    return found


def measurements_object(slices: Sequence[Dataset], grid: Grid, segmentation: Dataset, answer: Answer) -> Dataset:
    """Return a Comprehensive 3D SR with the volume of each structure, each tied to its segment."""
    ordered = [_readable(slices[index]) for index in grid.order]
    millilitres = float(np.prod(grid.spacing_mm)) / 1000
    groups = [
        _volume(segmentation, ordered[0], number, name, float((answer.labels == number).sum()) * millilitres)
        for number, name in enumerate(answer.structures, 1)
    ]
    report = highdicom.sr.MeasurementReport(
        observation_context=highdicom.sr.ObservationContext(observer_device_context=_observer()),
        procedure_reported=_procedure(ordered[0]),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    found: Dataset = highdicom.sr.Comprehensive3DSR(
        evidence=[segmentation, *ordered],
        content=report,
        series_number=9002,
        series_instance_uid=generate_uid(prefix=None),
        sop_instance_uid=generate_uid(prefix=None),
        instance_number=1,
        manufacturer=_MAKER,
        is_complete=True,
        is_final=False,
        series_description="Model measurements; not for diagnosis",
    )
    return found


def _segment(number: int, name: str, answer: Answer) -> Any:
    return highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.SCT.AnatomicalStructure,
        # Whatever a benchmark calls its structures: their own names, in a scheme of this software's.
        segmented_property_type=_code(name),
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=answer.model[:64], family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
    )


def _volume(segmentation: Dataset, source: Dataset, number: int, name: str, millilitres: float) -> Any:
    segment = highdicom.sr.ReferencedSegment(
        sop_class_uid=segmentation.SOPClassUID,
        sop_instance_uid=segmentation.SOPInstanceUID,
        segment_number=number,
        source_series=highdicom.sr.SourceSeriesForSegmentation(source.SeriesInstanceUID),
    )
    volume = highdicom.sr.Measurement(
        name=codes.SCT.Volume, value=round(millilitres, 3), unit=codes.UCUM.CubicCentimeter
    )
    return highdicom.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=highdicom.sr.TrackingIdentifier(generate_uid(prefix=None), name),
        referenced_segment=segment,
        finding_type=_code(name),
        measurements=[volume],
    )


def _observer() -> Any:
    device = highdicom.sr.DeviceObserverIdentifyingAttributes(
        uid=generate_uid(prefix=None), manufacturer_name=_MAKER, model_name=_SOFTWARE
    )
    return highdicom.sr.ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)


def _code(name: str) -> Any:
    return highdicom.sr.CodedConcept(
        value=name.upper().replace(" ", "_")[:16], scheme_designator=_PRIVATE_SCHEME, meaning=name
    )


def _procedure(source: Dataset) -> Any:
    value, meaning = _PROCEDURES.get(str(source.get("Modality")), _PROCEDURES["CT"])
    return highdicom.sr.CodedConcept(value=value, scheme_designator="SCT", meaning=meaning)


def _readable(source: Dataset) -> Dataset:
    """Return a source image as highdicom takes it: it fails at an empty character set and at an absent element."""
    result = deepcopy(source)
    if "SpecificCharacterSet" in result and not result.SpecificCharacterSet:
        del result.SpecificCharacterSet
    for keyword in ("PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        if keyword not in result:
            setattr(result, keyword, "")
    for keyword in ("AccessionNumber", "ReferringPhysicianName"):
        if keyword not in result:
            setattr(result, keyword, "")
    return result
