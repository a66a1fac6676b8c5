"""A folder of DICOM files, searched to the bottom, zip archives in it included, with or without a table of labels."""

import os
from collections.abc import Mapping
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
        self._paths = _files(folder, leave_out=table, besides=besides) if folder.is_dir() else [folder.name]
        self._check_rows_have_files()

    def deliver(self, inbox: "Inbox") -> None:
        """Hand over the files in the order of their paths; an archive that is not safe is refused as a whole."""
        plain, archives = self.items(), [path for path in self._paths if is_archive(Path(path))]
        inbox.take_each(plain, self._fetch, self._annotation_of, total=len(plain))
        for path in archives:
            archive = Item(path, file_stamp(self._folder / path))
            try:
                members = list(zip_items(self._folder / path, path, archive.stamp))
            except BadInput as refusal:
                inbox.refuse(archive, refusal.code)
                continue
            inbox.pass_by(archive)
            inbox.take_each(members, self._fetch, self._annotation_of, total=len(members))
        inbox.settle_delivered()

    def items(self) -> list[Item]:
        """Return the files that are not archives, in the order of their paths."""
        return [Item(path, file_stamp(self._folder / path)) for path in self._paths if not is_archive(Path(path))]

    def _fetch(self, item: Item) -> bytes:
        archive, mark, member = item.locator.partition(MARK)
        if mark and is_archive(Path(archive)):
            return read_member(self._folder / archive, member)
        return read_limited(self._folder / item.locator)

    def _annotation_of(self, item: Item) -> Annotation | None:
        path = PurePosixPath(item.locator.replace(MARK, "/"))
        places = (str(place) for place in (path, *path.parents))
        return next((self._annotations[place] for place in places if place in self._annotations), None)

    def _check_rows_have_files(self) -> None:
        present = {str(place) for path in self._paths for place in (PurePosixPath(path), *PurePosixPath(path).parents)}
        for key, annotation in self._annotations.items():
            if key not in present:
                raise BadInput("label-without-case", f"row {annotation.row} names a folder without files")


def is_archive(path: Path) -> bool:
    """Tell whether a file is a zip archive, by its name."""
    return path.suffix.lower() == ".zip"


def _label_volumes(annotations: Mapping[str, Annotation]) -> frozenset[str]:
    """Return the label maps that are no DICOM objects: they are read beside their series, not delivered."""
    named = (annotation.label_path or "" for annotation in annotations.values())
    return frozenset(path for path in named if path.endswith((".nii", ".nii.gz")))


def _files(folder: Path, leave_out: Path | None, besides: frozenset[str]) -> list[str]:
    skipped = leave_out.resolve() if leave_out else None
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            if not name.startswith(".") and name not in _NOT_AN_IMAGE and path.resolve() != skipped:
                found.append(path.relative_to(folder).as_posix())
    return sorted(set(found) - besides)
