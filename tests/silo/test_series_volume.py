"""Series to volume: against nibabel and highdicom on real series, and every reason to refuse."""

import random
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import highdicom
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import generate_uid
from scipy.spatial.transform import Rotation

from silo_node.series.geometry import Grid, Plane, arrange
from silo_node.series.segmentation import lay_over, segment_labels
from silo_node.series.volume import series_volume
from silo_node.wire.errors import BadInput
from tests.data import data_folder
from tests.silo.series import OBLIQUE, series

with warnings.catch_warnings():
    # nibabel calls its DICOM readers experimental each time they are imported.
    warnings.simplefilter("ignore")
    from nibabel.nicom.dicomwrappers import wrapper_from_data

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
REAL = {
    "udacity-study1/13_HCropVolume": "*.dcm",
    "nih-ge/mr_0004": "*-000[01][0-9].dcm",
    "dcmqi-seg-sr": "0?.dcm",
}


def real(folder: str, pattern: str | None = None) -> list[Dataset]:
    paths = sorted((data_folder("dicom-samples") / folder).glob(pattern or REAL[folder]))
    datasets = [dcmread(path) for path in paths]
    for dataset in datasets:
        if "SpecificCharacterSet" in dataset and not dataset.SpecificCharacterSet:
            del dataset.SpecificCharacterSet
    return datasets


def first_time_point() -> list[Dataset]:
    return [dataset for dataset in real("nih-ge/mr_0004") if int(dataset.InstanceNumber) <= 15]


@pytest.fixture(params=REAL)
def slices(request: pytest.FixtureRequest) -> list[Dataset]:
    datasets = first_time_point() if request.param == "nih-ge/mr_0004" else real(request.param)
    random.Random(5).shuffle(datasets)
    return datasets


def code(datasets: list[Dataset]) -> str:
    with pytest.raises(BadInput) as caught:
        series_volume(datasets)
    return caught.value.code


def by_highdicom(datasets: list[Dataset]) -> tuple[Any, Any]:
    """Return highdicom's values, in its own order of slices, rows and columns, and its affine turned to RAS."""
    volume = highdicom.get_volume_from_series(datasets)
    assert volume.coordinate_system.value == "PATIENT"
    return volume.array, LPS_TO_RAS @ volume.affine


def test_a_real_series_lies_where_highdicom_puts_it(slices: list[Dataset]) -> None:
    ours = series_volume(slices)
    values, affine = by_highdicom(slices)
    generator = np.random.default_rng(0)
    for index in generator.integers(0, ours.values.shape, (50, 3)):
        world = np.array(ours.affine) @ [*index, 1]
        there = np.linalg.solve(affine, world)[:3]
        assert np.allclose(there, np.rint(there), atol=1e-3)
        assert ours.values[tuple(index)] == values[tuple(np.rint(there).astype(int))]


def test_the_first_slice_lies_where_nibabel_puts_it(slices: list[Dataset]) -> None:
    ours = series_volume(slices)
    wrapper = wrapper_from_data(slices[0])
    theirs = LPS_TO_RAS @ wrapper.affine
    third = np.array(ours.affine)[:3, 2]
    assert np.allclose(np.array(ours.affine)[:3, 0], theirs[:3, 1], atol=1e-5)
    assert np.allclose(np.array(ours.affine)[:3, 1], theirs[:3, 0], atol=1e-5)
    # nibabel takes rows before columns, so its normal points the other way.
    assert np.allclose(-third / np.linalg.norm(third), LPS_TO_RAS[:3, :3] @ wrapper.slice_normal, atol=1e-5)
    corners = [np.array(ours.affine) @ [0, 0, k, 1] for k in range(ours.values.shape[2])]
    assert min(np.abs(corner - theirs[:, 3]).max() for corner in corners) < 1e-3


def test_an_oblique_volume_comes_back_in_any_order_of_its_slices() -> None:
    values = np.random.default_rng(1).integers(0, 3000, (6, 5, 9)).astype(np.int16)
    slices = series(values)
    random.Random(3).shuffle(slices)
    volume = series_volume(slices)
    assert np.array_equal(volume.values, values)
    assert volume.values.dtype == np.int16
    assert np.allclose(volume.spacing_mm, (0.8, 1.2, 2.5), rtol=1e-4)
    row, column = np.array(OBLIQUE)
    expected = np.array(volume.affine)[:3, :3] / volume.spacing_mm
    assert np.allclose(expected, np.array([row, column, np.cross(row, column)]).T * [[-1], [-1], [1]], atol=1e-3)
    assert np.allclose(np.array(volume.affine)[:3, 3], (106.943, 153.485, 76.2415), atol=1e-3)


@given(
    st.tuples(*[st.floats(-3, 3)] * 3),
    st.tuples(*[st.floats(0.1, 8)] * 3),
    st.tuples(*[st.floats(-400, 400)] * 3),
    st.permutations(range(6)),
)
def test_every_voxel_of_any_grid_lies_where_its_slice_says(
    turn: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...], order: list[int]
) -> None:
    """The standard's own equation (PS3.3 C.7.6.2.1.1), for any direction, spacing and order of arrival."""
    axes = Rotation.from_euler("xyz", turn).as_matrix()
    row, column, normal = axes.T
    planes = [
        Plane(tuple(origin + normal * spacing[2] * number), tuple(row), tuple(column), (spacing[1], spacing[0]), (5, 7))
        for number in order
    ]
    grid = arrange(planes)
    assert grid.shape == (7, 5, 6)
    assert [order[index] for index in grid.order] == list(range(6))
    for voxel in ((0, 0, 0), (6, 4, 5), (3, 1, 2)):
        slice_there = planes[grid.order[voxel[2]]]
        lps = slice_there.position + row * spacing[0] * voxel[0] + column * spacing[1] * voxel[1]
        assert np.allclose(np.array(grid.affine) @ [*voxel, 1], [-lps[0], -lps[1], lps[2], 1], atol=1e-6)


def test_left_is_left() -> None:
    """A bright voxel at DICOM x = +30 (left) lies at RAS x = -30: the turn that is forgotten mirrors a patient."""
    values = np.zeros((61, 4, 3), np.int16)
    values[60, 0, 0] = 1000
    volume = series_volume(
        series(values, spacing=(1, 1, 1), directions=((1, 0, 0), (0, 1, 0)), origin=(-30, 0, 0)),
    )
    assert np.allclose(np.array(volume.affine) @ [60, 0, 0, 1], [-30, 0, 0, 1])
    assert volume.values[60, 0, 0] == 1000


def test_rescale_may_differ_from_slice_to_slice() -> None:
    """Positron emission tomography scales each slice by itself."""
    slices = series(np.full((4, 4, 3), 100, np.int16))
    for index, dataset in enumerate(slices):
        dataset.RescaleSlope, dataset.RescaleIntercept = str(0.5 * (index + 1)), "-10"
    volume = series_volume(slices)
    assert [volume.values[0, 0, k] for k in range(3)] == [40, 90, 140]


def test_monochrome1_is_turned_over() -> None:
    values = np.arange(48, dtype=np.uint16).reshape(4, 4, 3)
    plain = series_volume(series(values)).values
    inverted = series_volume(series(values, PhotometricInterpretation="MONOCHROME1")).values
    assert np.array_equal(inverted.astype(int), 65535 - plain.astype(int))


def test_an_enhanced_object_gives_the_volume_of_its_slices() -> None:
    slices = first_time_point()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        enhanced = highdicom.legacy.LegacyConvertedEnhancedMRImage(slices, generate_uid(), 9, generate_uid(), 1)
    whole, single = series_volume([enhanced]), series_volume(slices)
    assert np.array_equal(whole.values, single.values)
    assert np.allclose(whole.affine, single.affine, atol=1e-6)


def test_an_enhanced_objects_frames_have_a_scale_each() -> None:
    enhanced = enhanced_object(np.full((3, 4, 5), 10, np.int16))
    for index, frame in enumerate(enhanced.PerFrameFunctionalGroupsSequence):
        scale = Dataset()
        scale.RescaleSlope, scale.RescaleIntercept = index + 1, 1
        frame.PixelValueTransformationSequence = Sequence([scale])
    assert [int(value) for value in series_volume([enhanced]).values[0, 0]] == [11, 21, 31, 41, 51]


def enhanced_object(values: Any) -> Dataset:
    slices = series(values)
    enhanced = deepcopy(slices[0])
    enhanced.NumberOfFrames = len(slices)
    enhanced.PixelData = b"".join(dataset.PixelData for dataset in slices)
    shared, frames = Dataset(), []
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([Dataset()]), Sequence([Dataset()])
    shared.PixelMeasuresSequence[0].PixelSpacing = slices[0].PixelSpacing
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = slices[0].ImageOrientationPatient
    for dataset in slices:
        place, frame = Dataset(), Dataset()
        place.ImagePositionPatient = dataset.ImagePositionPatient
        frame.PlanePositionSequence = Sequence([place])
        frames.append(frame)
    enhanced.SharedFunctionalGroupsSequence = Sequence([shared])
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(frames)
    del enhanced.ImagePositionPatient, enhanced.ImageOrientationPatient, enhanced.PixelSpacing
    return enhanced


def changed(**elements: Any) -> Callable[[list[Dataset]], list[Dataset]]:
    def change(slices: list[Dataset]) -> list[Dataset]:
        for keyword, value in elements.items():
            setattr(slices[2], keyword, value)
        return slices

    return change


def moved(slices: list[Dataset], number: int, by: tuple[float, float, float]) -> list[Dataset]:
    slices[number].ImagePositionPatient = [
        f"{part + more:.6g}" for part, more in zip(slices[number].ImagePositionPatient, by, strict=True)
    ]
    return slices


def tilted(slices: list[Dataset]) -> list[Dataset]:
    for number in range(len(slices)):
        moved(slices, number, (0, 0.3 * number, 0))
    return slices


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda slices: slices[:1], "series-too-short"),
        (lambda slices: [], "series-too-short"),
        (lambda slices: slices[:3] + slices[4:], "series-gap"),
        (lambda slices: moved(slices, 4, (0, 0, 0.7)), "series-spacing"),
        (lambda slices: slices + deepcopy(slices[3:4]), "series-duplicate-position"),
        (lambda slices: moved(slices, 3, (0, 0.2, 0)), "series-tilted"),
        (tilted, "series-tilted"),
        (changed(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "series-orientation"),
        (changed(FrameOfReferenceUID="1.2.3"), "series-frame-of-reference"),
        (changed(PixelSpacing=[1.3, 0.8]), "series-mixed"),
        (changed(SeriesInstanceUID="1.2.3"), "series-mixed"),
        (changed(PatientID="somebody else"), "series-mixed"),
        (changed(PhotometricInterpretation="MONOCHROME1"), "series-mixed"),
        (changed(ImagePositionPatient=None), "series-no-position"),
        (changed(ImageOrientationPatient=[1, 0, 0, 1, 0, 0]), "series-no-position"),
        (changed(PixelSpacing=[0, 0]), "series-no-position"),
        (changed(ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]), "series-mosaic"),
    ],
)
def test_a_series_that_is_no_volume_is_refused_with_the_reason(
    change: Callable[[list[Dataset]], list[Dataset]], expected: str
) -> None:
    flat = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    slices = series(np.zeros((4, 5, 8), np.int16), directions=flat, origin=(0, 0, 0))
    assert code(change(slices)) == expected


def test_real_series_that_are_no_volume_are_refused() -> None:
    assert code(real("nih-ge/mr_0004", "*.dcm")) == "series-duplicate-position", "two time points"
    assert code(real("nih-siemens/mr_0003", "*.dcm")) == "series-mosaic"
    assert code(real("udacity-study1/12-T1post", "*.dcm")) == "series-spacing", "4 of 24 slices"
    assert code(real("pydicom", "emri_small.dcm")) == "series-no-position", "an enhanced object without its groups"


def liver() -> tuple[Grid, Dataset]:
    return series_volume(real("dcmqi-seg-sr")).grid, dcmread(data_folder("dicom-samples") / "dcmqi-seg-sr/liver.dcm")


def test_a_real_segmentation_is_laid_over_its_series_as_highdicom_does() -> None:
    grid, dataset = liver()
    labels = segment_labels(dataset, grid)
    theirs = highdicom.seg.segread(data_folder("dicom-samples") / "dcmqi-seg-sr/liver.dcm")
    volume = theirs.get_volume(combine_segments=True)
    assert labels.sum() == volume.array.sum() > 1000
    voxels = np.argwhere(labels > 0)[::997]
    for index in voxels:
        there = np.linalg.solve(LPS_TO_RAS @ volume.affine, np.array(grid.affine) @ [*index, 1])[:3]
        assert volume.array[tuple(np.rint(there).astype(int))] == labels[tuple(index)]


def test_a_segmentation_of_other_voxels_is_refused() -> None:
    _, dataset = liver()
    elsewhere = series_volume(first_time_point()).grid
    with pytest.raises(BadInput) as caught:
        segment_labels(dataset, elsewhere)
    assert caught.value.code == "segmentation-mismatch"


def test_a_nifti_label_map_of_the_same_voxels_in_another_order_is_laid_over() -> None:
    grid = series_volume(series(np.zeros((6, 5, 4), np.int16))).grid
    labels = np.random.default_rng(2).integers(0, 3, (6, 5, 4)).astype(np.uint8)
    affine = np.array(grid.affine)
    turned = np.transpose(labels, (2, 0, 1))[:, :, ::-1]
    turn = np.array([[0, 1, 0, 0], [0, 0, -1, 4], [1, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    assert np.array_equal(lay_over(turned, affine @ turn, grid), labels)
    assert np.array_equal(lay_over(labels, affine, grid), labels)


@pytest.mark.parametrize("shift", [(0.5, 0, 0), (0, 0, 1), (0, -1, 0)])
def test_a_label_map_that_lies_elsewhere_is_refused(shift: tuple[float, float, float]) -> None:
    grid = series_volume(series(np.zeros((6, 5, 4), np.int16))).grid
    affine = np.array(grid.affine) @ np.vstack([np.c_[np.eye(3), shift], [0, 0, 0, 1]])
    with pytest.raises(BadInput) as caught:
        lay_over(np.zeros((6, 5, 4), np.uint8), affine, grid)
    assert caught.value.code == "segmentation-mismatch"
