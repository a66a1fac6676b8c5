"""What messages accept and refuse, beyond what their types say."""

import pytest
from pydantic import ValidationError

from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.cohorts import count_band
from silo_node.wire.digests import digest_bytes, digest_file, keyed_fingerprint
from silo_node.wire.errors import PROBLEMS, BadInput, MedSiloError
from silo_node.wire.estimates import MetricEstimate
from silo_node.wire.studies import StudyPlan
from silo_node.wire.versions import negotiate

DIGEST = "blake3:" + "0" * 64
DEFINITION = {
    "name": "chest_phantom",
    "version": 1,
    "title": "Chest phantom",
    "summary": "A test.",
    "task": "classification",
    "modality": "DX",
    "provenance": "synthetic",
    "data_source": "generated",
    "licence": "none",
    "labels": ("clear", "opacity"),
    "input": {"channels": 1, "shape": (64, 64)},
    "preparation": (),
    "metrics": ({"name": "auroc", "primary": True},),
}
PLAN = {
    "name": "first",
    "title": "First study",
    "benchmark": {"name": "chest_phantom", "version": 1, "digest": DIGEST},
    "model": {"digest": DIGEST, "size": 10},
    "silos": ("silo-aaaaaaaa", "silo-bbbbbbbb"),
    "rounds": 2,
    "quorum": 2,
    "deadline_seconds": 60,
}


def test_blake3_of_nothing_is_the_published_value(tmp_path):
    """The first test vector of the BLAKE3 specification: the digest of zero bytes."""
    empty = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    path = tmp_path / "empty"
    path.write_bytes(b"")
    assert digest_bytes(b"") == digest_file(path) == empty


def test_a_fingerprint_cannot_be_had_without_the_key():
    """Two sites, or two keys of one site, give unlinkable fingerprints of the same manifest."""
    assert keyed_fingerprint(b"a" * 32, b"manifest") != keyed_fingerprint(b"b" * 32, b"manifest")


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": ({"name": "dice", "primary": True},)},
        {"metrics": ({"name": "auroc"},)},
        {"metrics": ({"name": "auroc", "primary": True}, {"name": "auroc"})},
        {"metrics": ({"name": "made_up", "primary": True},)},
        {"labels": ("clear", "clear")},
        {"thresholds": (0.1, 0.2, 0.3, 0.4)},
        {"patient_name": "DOE"},
    ],
)
def test_a_benchmark_that_does_not_hold_together_is_refused(change):
    """Unknown, foreign or doubled metrics, doubled labels and undeclared fields are refused."""
    assert BenchmarkDefinition.model_validate(DEFINITION)
    with pytest.raises(ValidationError):
        BenchmarkDefinition.model_validate(DEFINITION | change)


@pytest.mark.parametrize("change", [{"quorum": 3}, {"silos": ("silo-aaaaaaaa", "silo-aaaaaaaa")}, {"weight": 10**12}])
def test_a_plan_that_cannot_hold_is_refused(change):
    """A quorum larger than the federation, a silo named twice, a weight."""
    assert StudyPlan.model_validate(PLAN)
    with pytest.raises(ValidationError):
        StudyPlan.model_validate(PLAN | change)


@pytest.mark.parametrize(
    "estimate",
    [
        {"metric": "auroc", "status": "undefined", "theta": (0.5,), "cov": ((0.1,),)},
        {"metric": "auroc", "status": "undefined"},
        {"metric": "auroc", "status": "estimated", "theta": (0.5, 0.6), "cov": ((0.1, 0.0),)},
        {"metric": "auroc", "status": "estimated", "theta": (float("nan"),), "cov": ((0.1,),)},
    ],
)
def test_an_estimate_is_whole_or_undefined_with_a_reason(estimate):
    """There is no third way: no NaN, no vector without its covariance, no undefined value without a reason."""
    with pytest.raises(ValidationError):
        MetricEstimate.model_validate(estimate)


def test_validation_errors_do_not_repeat_the_value():
    """An error message about a message may be logged, so it must not hold what was sent."""
    with pytest.raises(ValidationError) as refusal:
        StudyPlan.model_validate(PLAN | {"title": "DOE^JOHN\n"})
    assert "DOE" not in str(refusal.value)


@pytest.mark.parametrize(
    ("count", "band"), [(0, "fewer-than-20"), (19, "fewer-than-20"), (20, "20-49"), (5000, "5000-or-more")]
)
def test_bands_begin_where_they_say(count, band):
    """The edges of the bands."""
    assert count_band(count) == band


@pytest.mark.parametrize(("theirs", "agreed"), [((1,), 1), ((1, 2, 3), 2), ((3,), None), ((), None)])
def test_the_highest_common_version_is_spoken(theirs, agreed):
    """A hub that speaks 1 and 2 meets nodes of other ages."""
    assert negotiate(theirs, ours=(1, 2)) == agreed


def test_every_error_has_a_registered_code():
    """An unregistered code is a programming error, found at once."""
    with pytest.raises(KeyError):
        MedSiloError("made-up-code")
    error = BadInput("table-duplicate-key", "labels.csv names case 3 twice")
    assert error.hint == PROBLEMS["table-duplicate-key"].hint
    assert str(error) == "The table names a case twice [table-duplicate-key]: labels.csv names case 3 twice"
