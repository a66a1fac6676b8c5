"""Images that a table names: NIfTI volumes, PNG images, and images in NPZ archives."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from silo_node.deidentify.attributes import attributes, normal_modality, years_from_text
from silo_node.intake.npz import NpzImages, npz_length
from silo_node.intake.paths import file_stamp, path_identifiers
from silo_node.intake.source import Annotation, Item, SourceCase
from silo_node.intake.table import annotation_bytes, annotation_identifiers, check_paths, read_table
from silo_node.wire.errors import BadInput

_NIFTI = (".nii", ".nii.gz")
_NPZ = (".npz",)
_PNG = (".png",)


class TableSource:
    """The rows of a table. ``patient`` is required: no header says whose image it is."""

    kind = "table"

    def __init__(
        self,
        table: Path | Mapping[str, Annotation],
        folder: Path,
        *,
        collection: str,
        modality: str | None = None,
    ) -> None:
        """Check the whole table, which may be read already, and that every image it names is there.

        ``modality`` is the DICOM code of all images whose row has none. Raises :class:`BadInput`: ``file-missing``,
        ``label-without-case``, ``case-without-label``, or what :func:`~silo_node.intake.table.read_table` refuses.
        """
        if not folder.is_dir():
            raise BadInput("file-missing", f"no folder {folder}")
        self._folder, self.root = folder, str(folder.resolve())
        self._collection, self._modality = collection, modality
        self._annotations = table if isinstance(table, Mapping) else read_table(table, required=("path", "patient"))
        check_paths(self._annotations, folder)
        self._check_kinds_and_indices()
        self._archives = NpzImages()

    def count(self) -> int:
        """Return the number of rows."""
        return len(self._annotations)

    def shown(self, item: Item) -> str:
        """Return the path of the row's image."""
        return f"{self.root}/{item.locator}"

    def items(self) -> list[Item]:
        """Return the rows in the table's order."""
        stamps: dict[str, str] = {}
        return [Item(path, self._stamp(path, row, stamps)) for path, row in self._annotations.items()]

    def row_seal(self, item: Item) -> bytes:
        """Return bytes that change with what the row says."""
        return annotation_bytes(self._annotations[item.locator])

    def read(self, item: Item) -> SourceCase:
        """Decode one row's image and label map; raises ``image-invalid`` or ``file-undecodable``."""
        row = self._annotations[item.locator]
        case = self._reader(item.locator)(item.locator, row)
        more = path_identifiers(item.locator) | annotation_identifiers(row)
        return replace(
            case,
            identity=("table", self._collection, item.locator),
            patient=row.patient or "",
            label=row.label,
            split=row.split,
            modality=normal_modality(row.modality or self._modality or ""),
            attributes=attributes(maker=row.maker, sex=row.sex, age_years=years_from_text(row.age or "")),
            identifiers=case.identifiers | more,
        )

    def _reader(self, path: str) -> Callable[[str, Annotation], SourceCase]:
        if _file(path).lower().endswith(_PNG):
            return self._read_png
        return self._read_npz if _file(path).endswith(_NPZ) else self._read_nifti

    def _read_npz(self, path: str, row: Annotation) -> SourceCase:
        return self._archives.read(self._folder, path, row.label_path)

    def _read_png(self, path: str, row: Annotation) -> SourceCase:
        from silo_node.intake.png import read_png

        return read_png(self._folder / path, self._folder / row.label_path if row.label_path else None)

    def _read_nifti(self, path: str, row: Annotation) -> SourceCase:
        from silo_node.intake.nifti import read_nifti

        return read_nifti(self._folder / path, self._folder / row.label_path if row.label_path else None)

    def _stamp(self, path: str, row: Annotation, stamps: dict[str, str]) -> str:
        files = [_file(name) for name in (path, row.label_path) if name]
        for file in files:
            if file not in stamps:
                stamps[file] = file_stamp(self._folder / file)
        return "|".join(stamps[file] for file in files)

    def _check_kinds_and_indices(self) -> None:
        lengths: dict[str, int | None] = {}
        for path, row in self._annotations.items():
            for name in (path, row.label_path):
                if name is not None:
                    self._check(name, row.row, lengths)

    def _check(self, name: str, row: int, lengths: dict[str, int | None]) -> None:
        file, mark, index = name.partition("#")
        known = file.endswith(_NIFTI + _NPZ) or file.lower().endswith(_PNG)
        if not known or (mark and not file.endswith(_NPZ)):
            raise BadInput("table-unreadable", f"row {row} names a file that is not .nii, .nii.gz, .png or .npz")
        if not mark:
            return
        if not index.isdecimal() or len(index) > 9:
            raise BadInput("table-unreadable", f"row {row}: after # comes the number of an image, from 0")
        if file not in lengths:
            lengths[file] = npz_length(self._folder / file)
        length = lengths[file]
        if length is not None and int(index) >= length:
            raise BadInput("label-without-case", f"row {row}: the archive has {length} images")


def _file(path: str) -> str:
    return path.partition("#")[0]
