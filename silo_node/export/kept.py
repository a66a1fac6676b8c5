"""What an exported object keeps of its source. An element that is not named here does not come through.

How pixels are to be read and where they lie is kept as it was; UIDs are replaced wherever they stand, dates move, and
what the standard wants to be present but empty (type 2) is made empty.
"""

_UNCHANGED = """
SOPClassUID Modality ImageType Rows Columns BitsAllocated BitsStored HighBit PixelRepresentation SamplesPerPixel
PhotometricInterpretation PlanarConfiguration NumberOfFrames PixelAspectRatio PixelSpacing ImagerPixelSpacing
PixelSpacingCalibrationType SliceThickness SpacingBetweenSlices ImagePositionPatient ImageOrientationPatient
SliceLocation RescaleSlope RescaleIntercept RescaleType WindowCenter WindowWidth VOILUTFunction
SmallestImagePixelValue LargestImagePixelValue PixelPaddingValue PixelPaddingRangeLimit LossyImageCompression
LossyImageCompressionRatio LossyImageCompressionMethod BurnedInAnnotation RecognizableVisualFeatures PatientPosition
PatientOrientation Laterality ImageLaterality ViewPosition PresentationIntentType PresentationLUTShape
PixelIntensityRelationship PixelIntensityRelationshipSign PositionerType KVP MagneticFieldStrength RepetitionTime
EchoTime EchoTrainLength InversionTime FlipAngle ScanningSequence SequenceVariant ScanOptions MRAcquisitionType
InstanceNumber AcquisitionNumber SeriesNumber TemporalPositionIdentifier NumberOfTemporalPositions
VolumetricProperties VolumeBasedCalculationTechnique PixelPresentation ContentQualification ComplexImageComponent
AcquisitionContrast ResonantNucleus KSpaceFiltering ApplicableSafetyStandardAgency FrameIncrementPointer
DimensionIndexValues StackID InStackPositionNumber TemporalPositionIndex FrameAcquisitionNumber ReferencedSOPClassUID
ReferencedFrameNumber FrameType DimensionIndexPointer FunctionalGroupPointer DimensionOrganizationType SeriesType
Units CountsSource DecayCorrection FrameReferenceTime ActualFrameDuration
"""
UNCHANGED = frozenset(_UNCHANGED.split())
"""Elements that tell how to read the pixels and where they lie."""

_SEQUENCES = """
SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlanePositionSequence
PlaneOrientationSequence PixelValueTransformationSequence FrameContentSequence FrameVOILUTSequence
MRImageFrameTypeSequence CTImageFrameTypeSequence PETFrameTypeSequence DimensionOrganizationSequence
DimensionIndexSequence ReferencedImageSequence SourceImageSequence ReferencedSeriesSequence ReferencedInstanceSequence
DerivationImageSequence
"""
SEQUENCES = frozenset(_SEQUENCES.split())
"""Sequences whose items are looked through by the same list."""

_REPLACED_UIDS = """
SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID ReferencedSOPInstanceUID
SynchronizationFrameOfReferenceUID DimensionOrganizationUID ConcatenationUID IrradiationEventUID
"""
REPLACED_UIDS = frozenset(_REPLACED_UIDS.split())

SHIFTED_DATES = ("StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
EMPTY = ("StudyTime", "ContentTime", "AccessionNumber", "ReferringPhysicianName", "StudyID", "PatientBirthDate")
"""Elements the standard wants to be there, empty where nothing is known (type 2)."""
