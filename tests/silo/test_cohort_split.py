"""Properties of the split by patient, and of a cohort's states."""

from itertools import product
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo_node.cohorts.lifecycle import CohortEvent, CohortState, next_state
from silo_node.cohorts.split import SPLITS, Split, split_patients
from silo_node.deidentify.pseudonyms import Pseudonyms
from silo_node.wire.benchmarks import SplitSpec
from silo_node.wire.errors import BadInput, MedSiloError

PATIENTS = st.text("0123456789abcdef", min_size=4, max_size=6)
CASES = st.lists(st.tuples(PATIENTS, st.sampled_from([None, *SPLITS])), max_size=60)
SPECS = st.builds(SplitSpec, validation=st.floats(0, 0.5), test=st.floats(0, 0.5))


def draw(patient: str, key: bytes = b"\7" * 32, benchmark: str = "little_xray") -> float:
    return Pseudonyms(key).draw(benchmark, patient)


def contradicts(cases: list[tuple[str, Split | None]]) -> bool:
    said = {(patient, split) for patient, split in cases if split is not None}
    return len(said) != len({patient for patient, _ in said})


@given(CASES, SPECS, st.randoms())
def test_a_split_is_one_a_patient_the_tables_where_it_says_and_the_same_in_any_order(cases, spec, random) -> None:
    if contradicts(cases):
        with pytest.raises(BadInput) as refusal:
            split_patients(cases, spec, draw)
        assert refusal.value.code == "patient-in-two-splits"
        return
    splits = split_patients(cases, spec, draw)
    assert set(splits) == {patient for patient, _ in cases}
    assert all(splits[patient] == split for patient, split in cases if split is not None)
    shuffled = random.sample(cases, len(cases))
    assert split_patients(shuffled, spec, draw) == splits


@given(st.sets(PATIENTS, min_size=1), st.sets(PATIENTS), SPECS)
def test_a_patient_stays_in_place_whoever_else_comes(patients: set[str], more: set[str], spec: SplitSpec) -> None:
    before = split_patients([(patient, None) for patient in patients], spec, draw)
    after = split_patients([(patient, None) for patient in patients | more], spec, draw, earlier=before)
    assert before == {patient: after[patient] for patient in patients}


@given(st.lists(PATIENTS, min_size=1, max_size=80, unique=True), SPECS, st.data())
def test_each_class_has_its_share_of_every_split(patients: list[str], spec: SplitSpec, data: st.DataObject) -> None:
    strata = {patient: data.draw(st.sampled_from("ab")) for patient in patients}
    splits = split_patients([(patient, None) for patient in patients], spec, draw, strata=strata)
    for stratum in "ab":
        mine = [splits[patient] for patient in patients if strata[patient] == stratum]
        assert abs(mine.count("test") - len(mine) * spec.test) <= 0.5
        assert abs(mine.count("validation") - len(mine) * spec.validation) <= 1


def test_new_patients_bring_the_shares_back_to_what_was_declared() -> None:
    spec = SplitSpec(validation=0.0, test=0.5)
    before = {f"{number:04x}": "train" for number in range(10)}
    cases = [(patient, None) for patient in (*before, *(f"{number:04x}" for number in range(100, 110)))]
    splits = split_patients(cases, spec, draw, earlier=before)
    assert list(splits.values()).count("test") == 10


def test_another_site_or_benchmark_draws_otherwise() -> None:
    patients = [f"{number:08x}" for number in range(200)]
    own = [draw(patient) for patient in patients]
    assert own != [draw(patient, key=b"\x08" * 32) for patient in patients]
    assert own != [draw(patient, benchmark="other_xray") for patient in patients]
    assert all(0 <= number < 1 for number in own)


def test_every_pair_of_state_and_event_is_decided() -> None:
    allowed = {
        ("draft", "freeze"): "frozen",
        ("frozen", "register"): "registered",
        ("registered", "register"): "registered",
        ("frozen", "retire"): "retired",
        ("registered", "retire"): "retired",
    }
    for state, event in product(get_args(CohortState), get_args(CohortEvent)):
        if (state, event) in allowed:
            assert next_state(state, event) == allowed[state, event]
        else:
            with pytest.raises(MedSiloError) as refusal:
                next_state(state, event)
            assert refusal.value.code in ("state-conflict", "cohort-not-frozen")
