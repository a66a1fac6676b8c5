"""Do the pixels themselves show who the patient is? Rules over the header, each with a coded reason.

No header can prove that an image shows no name, so the rules err to the careful side: a site lets a reason through in
its policy only after a person has looked at such images.
"""

from dataclasses import dataclass
from typing import Literal, get_args

TOMOGRAPHIC = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.2",  # CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.1",  # Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.2.2",  # Legacy Converted Enhanced CT Image Storage
        "1.2.840.10008.5.1.4.1.1.4",  # MR Image Storage
        "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image Storage
        "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR Image Storage
        "1.2.840.10008.5.1.4.1.1.128",  # Positron Emission Tomography Image Storage
        "1.2.840.10008.5.1.4.1.1.128.1",  # Legacy Converted Enhanced PET Image Storage
        "1.2.840.10008.5.1.4.1.1.130",  # Enhanced PET Image Storage
    }
)
"""Classes whose series are stacks of slices through a body."""

PROJECTION = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.1",  # Computed Radiography Image Storage
        "1.2.840.10008.5.1.4.1.1.1.1",  # Digital X-Ray, for presentation
        "1.2.840.10008.5.1.4.1.1.1.1.1",  # Digital X-Ray, for processing
        "1.2.840.10008.5.1.4.1.1.1.2",  # Digital Mammography, for presentation
        "1.2.840.10008.5.1.4.1.1.1.2.1",  # Digital Mammography, for processing
        "1.2.840.10008.5.1.4.1.1.1.3",  # Digital Intra-Oral X-Ray, for presentation
        "1.2.840.10008.5.1.4.1.1.1.3.1",  # Digital Intra-Oral X-Ray, for processing
        "1.2.840.10008.5.1.4.1.1.20",  # Nuclear Medicine Image Storage
    }
)

PROJECTION_AND_TOMOGRAPHY = PROJECTION | TOMOGRAPHIC
"""Classes whose devices write no text into the pixels unless they say so."""

SCREEN_LIKE = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.3.1",  # Ultrasound Multi-frame Image Storage
        "1.2.840.10008.5.1.4.1.1.6.1",  # Ultrasound Image Storage
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage
        "1.2.840.10008.5.1.4.1.1.7.1",  # Multi-frame Single Bit Secondary Capture
        "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture
        "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture
        "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture
        "1.2.840.10008.5.1.4.1.1.12.1",  # X-Ray Angiographic Image Storage
        "1.2.840.10008.5.1.4.1.1.12.2",  # X-Ray Radiofluoroscopic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.1",  # VL Endoscopic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.2",  # VL Microscopic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.5.1",  # Ophthalmic Photography 8 Bit Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.5.2",  # Ophthalmic Photography 16 Bit Image Storage
    }
)
"""Classes that often are a picture of a screen, or of a person."""

IMAGE_STORAGE = PROJECTION_AND_TOMOGRAPHY | SCREEN_LIKE
"""SOP classes that are taken in at all. Reports, segmentations, presentation states, waveforms and the rest are not."""

RISKY_MODALITIES = frozenset({"US", "IVUS", "XA", "RF", "SC", "OT", "ES", "XC", "GM"})
_HEAD = ("HEAD", "BRAIN", "SKULL", "FACE", "ORBIT", "NECK")
_SCREEN_WORDS = ("SCREEN", "SNAPSHOT", "CAPTURE")

Risk = Literal[
    "burned-in-annotation",
    "head-scan",
    "overlay",
    "risky-modality",
    "secondary-capture",
    "unknown-annotation",
]
"""A coded reason, as a policy may allow it."""

RISKS: frozenset[Risk] = frozenset(get_args(Risk))


@dataclass(frozen=True)
class PixelFacts:
    """What the rules look at; texts in upper case, empty where the header has none."""

    sop_class: str
    modality: str = ""
    burned_in_annotation: str = ""
    image_type: tuple[str, ...] = ()
    body_part: str = ""
    overlays: bool = False


def pixel_risks(facts: PixelFacts) -> frozenset[Risk]:
    """Return the reasons to think that the pixels may show who the patient is; none is the empty set.

    Burned In Annotation (0028,0301) is required in few classes. Where it is absent, only the classes of primary
    acquisition are taken at their word.
    """
    rules: dict[Risk, bool] = {
        "burned-in-annotation": facts.burned_in_annotation not in ("", "NO"),
        "unknown-annotation": not facts.burned_in_annotation and facts.sop_class not in PROJECTION_AND_TOMOGRAPHY,
        "risky-modality": facts.modality in RISKY_MODALITIES or facts.sop_class in SCREEN_LIKE,
        "secondary-capture": _captured(facts.image_type),
        "overlay": facts.overlays,
        "head-scan": facts.modality in ("CT", "MR", "PT") and any(part in facts.body_part for part in _HEAD),
    }
    return frozenset(reason for reason, found in rules.items() if found)


def _captured(image_type: tuple[str, ...]) -> bool:
    return image_type[1:2] == ("SECONDARY",) or any(word in part for part in image_type for word in _SCREEN_WORDS)
