"""What every source of cases looks like to the intake: items to read, and what reading one gives.

A table of volumes is one, and so are the DICOM objects in the private store, whichever way they came there
(:mod:`silo_node.intake.objects`). A source decides nothing: whether a case is new, allowed or free of identifiers is
the same question for all of them, and is answered once, in :mod:`silo_node.intake.run`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from silo_node.deidentify.identifiers import Identifiers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]


@dataclass(frozen=True)
class Item:
    """One place in a source that may hold a case. Private: it names a file or an object of the source."""

    locator: str
    """Where it is, for the source and for the local user: a path below the folder, with ``#index`` in an archive."""

    stamp: str
    """Changes whenever the bytes may have changed, so that an intake that is run again reads only what is new."""


@dataclass(frozen=True)
class Annotation:
    """What a table says about an item, in the table's own words."""

    row: int = 0
    """Its row, the header being 1."""

    label: str | None = None
    label_path: str | None = None
    patient: str | None = None
    split: str | None = None
    sex: str | None = None
    age: str | None = None
    maker: str | None = None
    modality: str | None = None
    undeclared: tuple[str, ...] = ()
    """Cells of columns that are not declared. Nothing is kept of them, and the output is searched for them."""


@dataclass(frozen=True)
class SourceCase:
    """One case as its source gives it: still with the source's own ids, which go no further than de-identification."""

    identity: tuple[str, ...]
    """What makes it the same case wherever it is found again, such as its SOP Instance UID."""

    content: bytes
    """BLAKE3 digest of the image's source bytes; two cases of one identity must agree in it."""

    patient: str
    image: "Array"
    """(rows, columns) or (x, y, z); channels first when there are several. float32, int16 or uint8."""

    spacing_mm: tuple[float, ...] | None
    label_map: "Array | None" = None
    """uint8 of the image's spatial shape, for segmentation."""

    label: str | None = None
    split: str | None = None
    affine: tuple[tuple[float, ...], ...] | None = None
    """4x4 voxel to RAS+ world matrix in mm, where the source has one."""

    modality: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)
    risks: frozenset[str] = frozenset()
    """Coded reasons to think that the pixels show who the patient is."""

    may_grow: bool = False
    """Whether other bytes under the same identity are more of the same: a series whose last slices came late."""

    identifiers: Identifiers = field(default_factory=Identifiers)


class Source(Protocol):
    """A way to get at images. ``items`` is cheap and in a stable order; ``read`` decodes one and may refuse it."""

    kind: str
    """A short name for the catalogue: ``dicom``, ``table``."""

    root: str
    """Where the source is, for the local user; private like an item's locator."""

    def count(self) -> int:
        """Return how many items there are, for the progress."""

    def items(self) -> Iterable[Item]:
        """Return what there is, or yield it."""

    def shown(self, item: Item) -> str:
        """Return where an item is, for the local user."""

    def row_seal(self, item: Item) -> bytes:
        """Return bytes that change when what a table says about the item changes."""

    def read(self, item: Item) -> SourceCase:
        """Read and decode one item; raises ``BadInput`` with the reason it is quarantined for."""
