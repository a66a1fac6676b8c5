"""A folder of DICOM files, searched to the bottom, zip archives in it included, with or without a table of labels."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from silo_node.intake.dicom_zip import MARK, read_member, zip_items
from silo_node.intake.paths import file_stamp, read_limited
from silo_node.intake.source import Annotation, Item
from silo_node.intake.table import check_paths, read_table
from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from silo_node.intake.objects.inbox import Inbox

_NOT_AN_IMAGE = ("DICOMDIR",)


class DicomFolder:
    """Every file below a folder, or in a zip archive.

    A table's row may name a file, an archive, or a study's or series' folder for all beneath it; the nearest row
    counts: a file's own row before its series', that before its study's.
    """

    kind = "dicom-folder"
    by_quiet = False

    def __init__(self, folder: Path, table: Path | None = None) -> None:
        """Check the folder and the whole table.

        Raises :class:`BadInput`: ``file-missing``, ``label-without-case``, or what
        :func:`~silo_node.intake.table.read_table` refuses.
        """
        if not folder.is_dir() and not is_archive(folder):
            raise BadInput("file-missing", f"no folder {folder}")
        self._folder = folder if folder.is_dir() else folder.parent
        self.root = str(self._folder.resolve())
        self._annotations: Mapping[str, Annotation] = read_table(table) if table else {}
        check_paths(self._annotations, self._folder)
        besides = _label_volumes(self._annotations)
        self._paths = files_below(folder, leave_out=table, besides=besides) if folder.is_dir() else [folder.name]
        self._check_rows_have_files()

    def deliver(self, inbox: "Inbox") -> None:
        """Hand over the files in the order of their paths; an archive that is not safe is refused as a whole."""
        deliver_files(inbox, self._folder, self._paths, self._annotation_of)
        inbox.settle_delivered()

    def _annotation_of(self, item: Item) -> Annotation | None:
        path = PurePosixPath(item.locator.replace(MARK, "/"))
        places = (str(place) for place in (path, *path.parents))
        return next((self._annotations[place] for place in places if place in self._annotations), None)

    def _check_rows_have_files(self) -> None:
        present = {str(place) for path in self._paths for place in (PurePosixPath(path), *PurePosixPath(path).parents)}
        for key, annotation in self._annotations.items():
            if key not in present:
                raise BadInput("label-without-case", f"row {annotation.row} names a folder without files")


def deliver_files(
    inbox: "Inbox",
    folder: Path,
    paths: Iterable[str],
    annotation: Callable[[Item], Annotation | None] = lambda item: None,
) -> None:
    """Hand over files below a folder, then the members of those that are archives."""
    stamped = [Item(path, file_stamp(folder / path)) for path in paths]
    plain = [item for item in stamped if not is_archive(Path(item.locator))]
    inbox.take_each(plain, lambda item: read_limited(folder / item.locator), annotation, total=len(plain))
    for archive in stamped:
        if is_archive(Path(archive.locator)):
            _deliver_archive(inbox, folder / archive.locator, archive, annotation)


def _deliver_archive(
    inbox: "Inbox", path: Path, archive: Item, annotation: Callable[[Item], Annotation | None]
) -> None:
    try:
        members = list(zip_items(path, archive.locator, archive.stamp))
    except BadInput as refusal:
        inbox.refuse(archive, refusal.code)
        return
    inbox.pass_by(archive)
    names = len(archive.locator) + len(MARK)
    inbox.take_each(members, lambda item: read_member(path, item.locator[names:]), annotation, total=len(members))


def is_archive(path: Path) -> bool:
    """Tell whether a file is a zip archive, by its name."""
    return path.suffix.lower() == ".zip"


def _label_volumes(annotations: Mapping[str, Annotation]) -> frozenset[str]:
    """Return the label maps that are no DICOM objects: they are read beside their series, not delivered."""
    named = (annotation.label_path or "" for annotation in annotations.values())
    return frozenset(path for path in named if path.endswith((".nii", ".nii.gz")))


def files_below(folder: Path, *, leave_out: Path | None = None, besides: frozenset[str] = frozenset()) -> list[str]:
    """Return the paths of all files below a folder, hidden ones aside, in their order."""
    skipped = leave_out.resolve() if leave_out else None
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and name not in _NOT_AN_IMAGE and path.resolve() != skipped:
                found.append(path.relative_to(folder).as_posix())
    return sorted(set(found) - besides)
