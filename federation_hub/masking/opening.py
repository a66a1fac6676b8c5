"""From the opened shares to the masks that are left in a group's sum, and to the mean without them."""

from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.errors import PipelineError
from pipelines.masking import keys, shamir
from pipelines.masking.sums import Masks
from silo_node.wire.masking import MaskingKeys, MaskingOpening, MaskingShares


@dataclass(frozen=True)
class Said:
    """Everything the silos of a group have said, by their ids."""

    roster: str
    keys: Mapping[str, MaskingKeys]
    shares: Mapping[str, MaskingShares]
    survivors: Sequence[str]
    openings: Mapping[str, MaskingOpening]


def masks_left(said: Said) -> Masks:
    """Return what to add to the sum of the survivors' masked words and what to take from it.

    Of each survivor its own mask; of each silo that shared and vanished, the masks it has with every survivor. Raises
    ``masking-share`` or ``masking-key`` where shares, keys or escrow do not belong together.
    """
    context = said.roster.encode()
    places = {silo_id: place for place, silo_id in enumerate(sorted(said.keys), start=1)}
    taken = [
        keys.derive(shamir.join(_shares(said, silo_id, places, roots=False)), b"own " + context)
        for silo_id in said.survivors
    ]
    added: list[bytes] = []
    for silo_id in sorted(set(said.shares) - set(said.survivors)):
        root = shamir.join(_shares(said, silo_id, places, roots=True))
        for survivor, seed in _pair_seeds(said, silo_id, root, context).items():
            # A silo adds the masks it has with those after it and takes those it has with the ones before.
            (taken if survivor < silo_id else added).append(seed)
    return Masks(added=tuple(added), taken=tuple(taken))


def _shares(said: Said, silo_id: str, places: Mapping[str, int], *, roots: bool) -> dict[int, bytes]:
    found = {}
    for giver, opening in said.openings.items():
        for one in opening.roots if roots else opening.seeds:
            if one.of == silo_id:
                found[places[giver]] = b64decode(one.share)
    return found


def _pair_seeds(said: Said, silo_id: str, root: bytes, context: bytes) -> dict[str, bytes]:
    own = keys.mask_keys(root)
    stated = said.keys[silo_id]
    if own.public != keys.PublicPair(b64decode(stated.mask_agreement), b64decode(stated.mask_encapsulation)):
        raise PipelineError("masking-share", "the shares give another key than was advertised")
    escrow = keys.open_escrow(root, context, b64decode(said.shares[silo_id].escrow))
    seeds = {}
    for survivor in said.survivors:
        lower, higher = sorted((silo_id, survivor))
        common = escrow.get(survivor) if silo_id == lower else own.decapsulate(_ciphertext(said, survivor, silo_id))
        if common is None:
            raise PipelineError("masking-key", "an escrow lacks a silo")
        agreed = own.agree(b64decode(said.keys[survivor].mask_agreement))
        seeds[survivor] = keys.pair_seed(agreed, common, context, lower, higher)
    return seeds


def _ciphertext(said: Said, sender: str, receiver: str) -> bytes:
    for parcel in said.shares[sender].parcels:
        if parcel.receiver == receiver and parcel.mask is not None:
            return b64decode(parcel.mask)
    raise PipelineError("masking-key", "a parcel without its part of the mask")
