"""What a silo refuses: rosters, parcels, survivors, confirmations that it did not agree to. And what it keeps."""

import json
from dataclasses import replace

import pytest

from federation_hub.masking.opening import masks_left
from pipelines.errors import PipelineError
from silo_node.masking import protocol
from silo_node.masking.protocol import Session
from silo_node.wire.envelope import new_key, seal
from silo_node.wire.errors import IntegrityError, PolicyRefusal
from silo_node.wire.masking import MaskingKeys, MaskingOpening, MaskingSurvivors, groups_of
from tests.unit.masking.rounds import (
    Silo,
    advertised,
    confirmed,
    opened,
    parcels_to,
    roster_of,
    said_by,
    seeded,
    shared,
    silo_ids,
)

WEIGHTS = (10, 20, 30, 40)


@pytest.fixture(scope="module")
def silos() -> list[Silo]:
    return advertised(WEIGHTS)


@pytest.fixture(scope="module")
def sharing(silos: list[Silo]) -> list[Silo]:
    return shared(silos)


@pytest.fixture(scope="module")
def masking(sharing: list[Silo]) -> list[Silo]:
    return seeded(sharing)


def test_a_statement_signed_by_another_key_than_the_plans_is_no_roster(silos: list[Silo]) -> None:
    """A hub that swaps a silo's keys for its own cannot sign them."""
    victim, other = silos[0], silos[1]
    stated = MaskingKeys.model_validate_json(other.session.keys.payload_bytes())
    forged = seal(stated, new_key())
    with pytest.raises(IntegrityError, match="masking-roster"):
        protocol.share(victim.session, (silos[0].session.keys, forged, *roster_of(silos[2:])), victim.key)


@pytest.mark.parametrize("what", ["too few", "a silo twice", "own statement missing", "another order", "another round"])
def test_a_roster_that_is_not_the_plans_is_refused(what: str, silos: list[Silo]) -> None:
    first, *_ = silos
    whole = roster_of(silos)
    stated = MaskingKeys.model_validate_json(whole[3].payload_bytes())
    rosters = {
        "too few": whole[:2],
        "a silo twice": (*whole[:3], whole[2]),
        "own statement missing": whole[1:],
        "another order": tuple(reversed(whole)),
        "another round": (*whole[:3], seal(stated.model_copy(update={"round": 2}), silos[3].key)),
    }
    with pytest.raises(IntegrityError, match="masking-roster"):
        protocol.share(first.session, rosters[what], first.key)


def test_another_statement_of_its_own_keys_is_refused(silos: list[Silo]) -> None:
    """An earlier attempt's keys, replayed: they would be used twice."""
    first = silos[0]
    earlier = protocol.begin(first.session.task_id, first.silo_id, first.session.task, 10, first.key)
    with pytest.raises(IntegrityError, match="masking-roster"):
        protocol.share(first.session, (earlier.keys, *roster_of(silos[1:])), first.key)


def test_a_parcel_that_was_changed_on_the_way_does_not_open(sharing: list[Silo]) -> None:
    first, *_ = sharing
    good = parcels_to(first.silo_id, sharing)
    changed = good[0].model_copy(update={"sealed": good[1].sealed})
    with pytest.raises(PipelineError, match="masking-key"):
        protocol.receive(first.session, (changed, *good[1:]))
    with pytest.raises(IntegrityError, match="masking-roster"):
        protocol.receive(first.session, (good[0], good[0], good[1]))
    with pytest.raises(IntegrityError, match="masking-roster"):
        protocol.receive(first.session, good[:1])


def test_survivors_must_be_enough_known_and_with_oneself(masking: list[Silo]) -> None:
    first = masking[0]
    ids = silo_ids(4)
    for survivors in (ids[:2], ids[1:], (*ids[:3], "silo-999999")):
        with pytest.raises(IntegrityError, match="masking-roster"):
            protocol.confirm(first.session, survivors, first.key)
    told = protocol.confirm(first.session, ids[:3], first.key)
    with pytest.raises(IntegrityError, match="masking-roster"):
        protocol.confirm(told, ids, first.key)


def test_a_room_that_was_split_opens_nothing(masking: list[Silo]) -> None:
    """A hub that shows two silos one set of survivors and two another gets no share at all."""
    ids = silo_ids(4)
    one, two = confirmed(masking[:2], ids[:3]), confirmed(masking[2:], ids)
    said = [silo.session.confirmation for silo in (*one, *two)]
    for silo in (*one, *two):
        with pytest.raises(IntegrityError, match="masking-roster"):
            protocol.open_shares(silo.session, [envelope for envelope in said if envelope], silo.key)


def test_a_confirmation_nobody_signed_does_not_count(masking: list[Silo]) -> None:
    told = confirmed(masking, silo_ids(4))
    own = told[0].session
    forged = [
        seal(MaskingSurvivors(silo_id=one, roster=own.roster_digest, survivors=silo_ids(4)), new_key())
        for one in silo_ids(4)
    ]
    with pytest.raises(IntegrityError, match="masking-roster"):
        protocol.open_shares(own, forged, told[0].key)


def test_an_answer_is_given_once_and_never_both_shares_of_one_silo(masking: list[Silo]) -> None:
    """Also after the state was written to disk and read again, and whatever it is shown then."""
    survivors = silo_ids(4)[:3]
    told = opened(confirmed(masking[:3], survivors))
    for silo in told:
        again = Session.model_validate_json(silo.session.model_dump_json())
        assert again.opening is not None
        assert protocol.open_shares(again, [], silo.key).opening == silo.session.opening
        found = MaskingOpening.model_validate_json(again.opening.payload_bytes())
        assert [one.of for one in found.seeds] == list(survivors)
        assert [one.of for one in found.roots] == [silo_ids(4)[3]]


def test_fewer_openings_than_the_threshold_rebuild_nothing(masking: list[Silo], silos: list[Silo]) -> None:
    """Structural: with one share too few, what comes out is not the mask; the sum's check words would show it."""
    told = opened(confirmed(masking, silo_ids(4)))
    whole = masks_left(said_by(silos, masking, silo_ids(4), told))
    assert whole == masks_left(said_by(silos, masking, silo_ids(4), told[:3]))
    try:
        few = masks_left(said_by(silos, masking, silo_ids(4), told[:2]))
    except PipelineError as error:
        assert error.code == "masking-share"  # noqa: PT017  # either end is right, and which one is chance
    else:
        assert not set(few.taken) & set(whole.taken)


def test_a_wrong_share_of_a_root_is_found_out(masking: list[Silo], silos: list[Silo]) -> None:
    told = opened(confirmed(masking[:3], silo_ids(4)[:3]))
    said = said_by(silos, masking, silo_ids(4)[:3], told)
    first = said.openings[told[0].silo_id]
    spoilt = first.model_copy(update={"roots": (first.roots[0].model_copy(update={"share": first.seeds[0].share}),)})
    with pytest.raises(PipelineError, match="masking-share"):
        masks_left(replace(said, openings={**said.openings, told[0].silo_id: spoilt}))


def test_a_second_sum_over_other_silos_of_the_same_round_is_refused(masking: list[Silo]) -> None:
    """Two sums that differ by one silo would tell its update. The same set again tells nothing."""
    earlier = opened(confirmed(masking[:3], silo_ids(4)[:3]))[0].session
    later = earlier.model_copy(update={"task_id": "task-000099", "opening": None, "survivors": silo_ids(4)})
    with pytest.raises(PolicyRefusal, match="masking-answered"):
        protocol.refuse_second_sum(later, [protocol.close(earlier)])
    protocol.refuse_second_sum(later.model_copy(update={"survivors": earlier.survivors}), [earlier])


def test_a_closed_session_holds_no_secret(masking: list[Silo]) -> None:
    before = masking[0].session
    secrets = [before.root, before.own_seed, before.channel_root, *before.own_shares]
    secrets += [text for one in before.received.values() for text in (one.root, one.seed, one.pair)]
    left = json.dumps(protocol.close(before).model_dump(mode="json"))
    assert not any(secret in left for secret in secrets)


def test_groups_are_dealt_once_and_for_all() -> None:
    ids = silo_ids(11)
    dealt = groups_of(ids, 3, seed=5)
    assert dealt == groups_of(tuple(reversed(ids)), 3, seed=5)
    assert sorted(one for group in dealt for one in group) == sorted(ids)
    assert {len(group) for group in dealt} == {3, 4}
