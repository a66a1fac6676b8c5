"""From a label map beside a series in the private store to objects on disk, and to the PACS where somebody asks."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread

from silo_node.answers.objects import Answer, measurements_object, segmentation_object
from silo_node.intake.nifti import read_nifti
from silo_node.intake.objects.files import ObjectFiles
from silo_node.intake.objects.index import ObjectIndex
from silo_node.intake.pacs.association import Pacs
from silo_node.intake.silence import silent_decoders
from silo_node.series.segmentation import lay_over
from silo_node.series.volume import series_volume
from silo_node.state import Home
from silo_node.wire.errors import BadInput, MedSiloError


@dataclass(frozen=True)
class AnswerObjects:
    """The two objects of an answer."""

    segmentation: Dataset
    measurements: Dataset

    def write(self, folder: Path) -> list[Path]:
        """Write both into a folder readable by its owner alone; they name the patient."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        paths = [folder / "segmentation.dcm", folder / "measurements.dcm"]
        for path, dataset in zip(paths, (self.segmentation, self.measurements), strict=True):
            path.touch(mode=0o600)
            dataset.save_as(path, enforce_file_format=True)
        return paths


def answer_series(
    home: Home, series: str, label_map: Path, *, collection: str, structures: Sequence[str], model: str
) -> AnswerObjects:
    """Return the objects for a NIfTI label map of a series, given by its Series Instance UID.

    Raises :class:`BadInput`: ``series-unknown``, ``segmentation-mismatch`` where the map lies on other voxels,
    ``label-unknown``, or why the series is no volume.
    """
    with ObjectIndex(home) as index:
        rows = index.objects_of_series(series, collection)
    if not rows:
        raise BadInput("series-unknown", f"collection {collection} has no series of that UID")
    files = ObjectFiles(home)
    with silent_decoders():
        slices = [dcmread(io.BytesIO(files.read(row))) for row in rows]
        grid = series_volume(slices).grid
        drawn = read_nifti(label_map, None)
        answer = Answer(lay_over(drawn.image, drawn.affine or (), grid), tuple(structures), model)
        segmentation = segmentation_object(slices, grid, answer)
        return AnswerObjects(segmentation, measurements_object(slices, grid, segmentation, answer))


def push(objects: AnswerObjects, pacs: Pacs) -> None:
    """Send both objects to the site's own PACS by C-STORE.

    Raises ``pacs-unreachable``, ``pacs-refused``, ``pacs-certificate``, and ``pacs-failed`` where it does not keep one.
    """
    both = (objects.segmentation, objects.measurements)
    contexts = sorted({str(dataset.SOPClassUID) for dataset in both})
    with pacs.association(contexts, "keeping segmentations and reports (C-STORE)") as association:
        accepted = {str(context.abstract_syntax) for context in association.accepted_contexts}
        if not set(contexts) <= accepted:
            raise MedSiloError("pacs-refused", "it does not take segmentations and reports")
        for dataset in both:
            if association.send_c_store(dataset).get("Status") != 0:
                raise MedSiloError("pacs-failed", "it did not keep an object")
