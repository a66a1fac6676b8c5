"""The sums of a masked round as updates that can be folded: one mean a group, in place of the updates of its silos."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from federation_hub.aggregation.fold import Update
from federation_hub.aggregation.group_means import group_name, meaning_of
from federation_hub.aggregation.layout import read_layout
from federation_hub.masking.opening import Said, masks_left
from federation_hub.masking.stages import counted, groups_in, sites_in
from federation_hub.masking.tables import MaskingSite
from federation_hub.storage.blobs import BlobStore
from federation_hub.stored import read_stored
from federation_hub.studies.tables import StudyRound, StudyUpdate
from pipelines.errors import PipelineError
from pipelines.masking.sums import stored, write_mean
from silo_node.wire.base import Message
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import IntegrityError
from silo_node.wire.masking import MaskingKeys, MaskingOpening, MaskingShares, roster_digest
from silo_node.wire.studies import StudyPlan

M = TypeVar("M", bound=Message)
VOID = frozenset({"masking-incomplete", "masking-share", "masking-key", "masking-overflow"})
"""Why a sum would not be exact."""


@dataclass(frozen=True)
class GroupSum:
    """What is needed to make one group's mean."""

    name: str
    said: Said
    weights: dict[str, int]
    digests: dict[str, str]


def sums_of(session: Session, found: StudyRound, updates: Sequence[StudyUpdate]) -> list[GroupSum]:
    """Return the sums of a round that were opened, with everything said about them."""
    by_silo = {row.silo_id: row for row in updates}
    survivors = counted(session, found)
    return [
        GroupSum(
            group_name(group.place),
            _said(sites_in(session, group), [site.silo_id for site in survivors[group.place]]),
            {site.silo_id: by_silo[site.silo_id].weight for site in survivors[group.place]},
            {site.silo_id: by_silo[site.silo_id].digest or "" for site in survivors[group.place]},
        )
        for group in groups_in(session, found)
        if group.place in survivors
    ]


def write_means(blobs: BlobStore, groups: Sequence[GroupSum], plan: StudyPlan, base: Path, stem: Path) -> list[Update]:
    """Open the sums and write each group's weighted mean beside ``stem``.

    Raises :class:`IntegrityError` ``masking-incomplete``, ``masking-share`` or ``masking-key`` where a sum would not
    be exact.
    """
    values = sum(tensor.values for tensor in read_layout(base).tensors)
    means = []
    for group in groups:
        out = stem.with_name(f"{stem.name}.{group.name}")
        try:
            meaning = meaning_of(plan, [keys.weight for keys in group.said.keys.values()], group.weights.values())
            sources = [
                stored(blobs.path(group.digests[silo_id]), values, meaning.encoding.bits)
                for silo_id in group.said.survivors
            ]
            write_mean(sources, masks_left(group.said), meaning, base, out)
        except PipelineError as error:
            raise IntegrityError(error.code, error.detail) from error
        means.append(Update(group.name, out, sum(group.weights.values())))
    return means


def _said(sites: Sequence[MaskingSite], survivors: Sequence[str]) -> Said:
    present = [site for site in sites if site.keys is not None]
    return Said(
        roster=roster_digest([read_stored(Envelope, site.keys) for site in present if site.keys is not None]),
        keys={site.silo_id: _message(MaskingKeys, site.keys) for site in present},
        shares={site.silo_id: _message(MaskingShares, site.shares) for site in present if site.shares is not None},
        survivors=survivors,
        openings={site.silo_id: _message(MaskingOpening, site.opening) for site in present if site.opening is not None},
    )


def _message(kind: type[M], stated: dict[str, Any] | None) -> M:
    assert stated is not None
    return kind.model_validate_json(read_stored(Envelope, stated).payload_bytes())
