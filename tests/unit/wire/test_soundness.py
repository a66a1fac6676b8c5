"""Which plans cannot hold, with which code; and what the panel of a sound one says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.compression import Half, OtherRelease
from silo_node.wire.course import Buffered, Gate
from silo_node.wire.errors import PROBLEMS
from silo_node.wire.masking import Member, SecureAggregation
from silo_node.wire.models import ModelReference
from silo_node.wire.neighbours import Balance, Decentralised, Gossip, NeighbourRule, SelfCentredClipping, Ubar
from silo_node.wire.privacy import SiloPrivacy
from silo_node.wire.protection import what_protects_what
from silo_node.wire.soundness import first_fault
from silo_node.wire.strategies import (
    Bulyan,
    CentredClipping,
    Combination,
    CoordinateMedian,
    Ditto,
    FedAdam,
    FLTrust,
    GeometricMedian,
    Krum,
    Mean,
    MultiKrum,
    NormClipping,
    Scaffold,
    Strategy,
    TrimmedMean,
    sites_needed,
)
from silo_node.wire.studies import LocalTraining, StudyPlan

SILOS = tuple(f"silo-{number:012}" for number in range(12))
DIGEST = "blake3:" + "a" * 64


def plan(robust: Combination, quorum: int = 12, norm_bound: float | None = None) -> StudyPlan:
    return StudyPlan(
        name="made_up",
        title="A made-up study",
        benchmark=BenchmarkReference(name="toy", version=1, digest=DIGEST),
        model=ModelReference(digest=DIGEST, size=1000),
        silos=SILOS,
        rounds=3,
        quorum=quorum,
        deadline_seconds=60,
        robust=robust,
        norm_bound=norm_bound,
    )


@pytest.mark.parametrize(
    ("rule", "liars", "needed"),
    [
        (CoordinateMedian, 2, 5),
        (TrimmedMean, 2, 5),
        (GeometricMedian, 2, 5),
        (lambda liars: CentredClipping(liars=liars, radius=1.0), 2, 5),
        (Krum, 2, 7),
        (MultiKrum, 2, 7),
        (Bulyan, 2, 11),
    ],
)
def test_a_rule_needs_as_many_updates_as_its_paper_says(rule, liars: int, needed: int) -> None:  # type: ignore[no-untyped-def]
    """Counted on the quorum, because a round may go on with no more."""
    robust = rule(liars=liars)
    assert sites_needed(robust) == needed
    fault = first_fault(plan(robust, quorum=needed - 1))
    assert fault is not None
    assert fault.code == "plan-rule-sites"
    assert first_fault(plan(robust, quorum=needed)) is None


@given(st.integers(1, 12))
def test_plain_averaging_holds_for_any_quorum(quorum: int) -> None:
    assert first_fault(plan(Mean(), quorum)) is None


def test_the_root_of_trust_takes_part() -> None:
    fault = first_fault(plan(FLTrust(root="silo-elsewhere0000")))
    assert fault is not None
    assert fault.code == "plan-root-absent"
    assert first_fault(plan(FLTrust(root=SILOS[3]))) is None


def test_a_clipping_radius_over_the_bound_is_idle() -> None:
    """Every longer update was refused before, so the plan would promise a clipping that never happens."""
    fault = first_fault(plan(NormClipping(radius=5.0), norm_bound=5.0))
    assert fault is not None
    assert fault.code in PROBLEMS
    assert fault.code == "plan-clipping-idle"
    assert first_fault(plan(NormClipping(radius=4.0), norm_bound=5.0)) is None


@pytest.mark.parametrize(
    ("local", "sound"),
    [
        (LocalTraining(optimiser="sgd", normalise_to=10), True),
        (LocalTraining(optimiser="adam", normalise_to=10), False),
        (LocalTraining(optimiser="sgd", normalise_to=10, proximal=0.1), False),
        (LocalTraining(optimiser="adam", proximal=0.1), True),
    ],
)
def test_steps_are_comparable_for_plain_gradient_descent_only(local: LocalTraining, sound: bool) -> None:
    fault = first_fault(plan(Mean()).model_copy(update={"local": local}))
    assert (fault is None) is sound
    assert fault is None or fault.code == "plan-not-normalisable"


def test_a_bare_name_is_a_strategy_with_its_defaults() -> None:
    assert TypeAdapter(Strategy).validate_python("fedadam") == FedAdam()
    assert TypeAdapter(Combination).validate_json('"krum"') == Krum()
    with pytest.raises(ValidationError):
        TypeAdapter(Combination).validate_python("norm_clipping")


def test_the_panel_answers_four_questions_with_the_plans_own_numbers() -> None:
    """It never says that something is prevented which the rule does not prevent."""
    panel = {entry.question: " ".join(entry.answers) for entry in what_protects_what(plan(Krum(liars=3), quorum=9))}
    assert len(panel) == 4
    assert "at least 9 in a round, up to 3 may send anything" in panel["Who could spoil the model?"]
    assert "without differential privacy" in panel["What is a patient promised?"]
    assert "In each of 3 rounds" in panel["What leaves the building?"]
    (spoil,) = [entry for entry in what_protects_what(plan(Mean(), norm_bound=7.5)) if "spoil" in entry.question]
    assert "Any single site" in spoil.answers[0]
    assert "7.5" in spoil.answers[0]


KEY = "A" * 43 + "="


def masked(robust: Combination | None = None, silos: int = 12, quorum: int = 3, **changes: object) -> StudyPlan:
    masking = {"members": tuple(Member(silo_id=one, public_key=KEY) for one in SILOS[:silos]), **changes}
    return plan(robust or Mean(), quorum=quorum).model_copy(
        update={"silos": SILOS[:silos], "secure_aggregation": SecureAggregation.model_validate(masking)}
    )


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (masked(silos=2, quorum=2), "plan-masked-sites"),
        (masked(silos=3, quorum=2), "plan-masked-sites"),
        (masked(threshold=6), "plan-masked-sites"),
        (masked(silos=8, groups=3), "plan-masked-sites"),
        (masked(members=()), "plan-masked-members"),
        (masked(Krum()), "plan-masked-rule"),
        (masked(CoordinateMedian(), groups=2), "plan-masked-rule"),
        (masked(FLTrust(root=SILOS[0]), groups=4), "plan-masked-rule"),
        (masked(NormClipping(radius=1.0)), "plan-masked-rule"),
        (masked().model_copy(update={"norm_bound": 1.0}), "plan-masked-bound"),
        (masked(), None),
        (masked(silos=3), None),
        (masked(CoordinateMedian(), groups=3), None),
        (masked(NormClipping(radius=1.0), groups=2), None),
    ],
)
def test_which_masked_plans_hold(made: StudyPlan, code: str | None) -> None:
    """A rule over sums needs as many groups as it needs sites; a group has three silos and a majority opens it."""
    fault = first_fault(made)
    assert (fault.code if fault else None) == code


@pytest.mark.parametrize(
    ("made", "code", "why", "instead"),
    [
        (
            masked().model_copy(update={"strategy": Scaffold()}),
            "plan-masked-single",
            "each silo's own update",
            "fedavg",
        ),
        (masked().model_copy(update={"schedule": Buffered()}), "plan-masked-single", "silos at once", "rounds"),
        (masked().model_copy(update={"compression": Half()}), "plan-masked-compression", "half", "are noise"),
        (masked().model_copy(update={"norm_bound": 1.0}), "plan-masked-bound", "norm_bound", "largest_change"),
        (masked(Krum()), "plan-masked-rule", "krum over 1 sums", "enough groups"),
        (
            masked().model_copy(update={"privacy": SiloPrivacy(unit="silo", epsilon=8.0, clipping_norm=1.0)}),
            "plan-privacy-training",
            "privacy.unit patient",
            "take one of them away",
        ),
        (
            plan(Mean()).model_copy(update={"strategy": Scaffold(), "compression": Half()}),
            "plan-scaffold-steps",
            "take lossless",
            "none or lossless",
        ),
        (
            plan(Mean()).model_copy(update={"schedule": Buffered(), "gate": Gate()}),
            "plan-not-buffered",
            "models of several ages",
            "Set the schedule to rounds",
        ),
    ],
)
def test_a_refusal_says_why_and_what_to_do_instead(made: StudyPlan, code: str, why: str, instead: str) -> None:
    fault = first_fault(made)
    assert fault is not None
    assert fault.code == code
    assert why in fault.detail
    assert instead in PROBLEMS[code].hint


def test_the_panel_of_a_masked_plan_says_what_is_seen_and_what_is_not_stopped() -> None:
    panel = {entry.question: " ".join(entry.answers) for entry in what_protects_what(masked(groups=4, silos=12))}
    assert "a sum over at least 3 sites of a group" in panel["Who can see an update?"]
    assert "or all but one with the hub's help" in panel["Who can see an update?"]
    assert "Any single site" in panel["Who could spoil the model?"]
    assert "without differential privacy" in panel["What is a patient promised?"]
    assert "sealed shares" in panel["What leaves the building?"]


def test_a_level_of_another_release_can_be_read_and_is_refused() -> None:
    """By its name or with parameters nobody here knows."""
    for level in ("fp4", {"level": "fp4", "bits": 4}):
        newer = StudyPlan.model_validate({**plan(Mean()).model_dump(), "compression": level})
        fault = first_fault(newer)
        assert newer.compression == OtherRelease(name="fp4")
        assert fault is not None
        assert (fault.code, "fp4" in fault.detail) == ("compression-unknown", True)


def without_aggregator(rule: NeighbourRule, **changes: object) -> StudyPlan:
    """Twelve silos in a ring, so that each has two neighbours."""
    edges = sorted(tuple(sorted((SILOS[place], SILOS[(place + 1) % 12]))) for place in range(12))
    members = tuple(Member(silo_id=silo, public_key="A" * 43 + "=") for silo in SILOS)
    graph = Decentralised(edges=tuple((first, second) for first, second in edges), members=members, rule=rule)
    return plan(Mean()).model_copy(update={"decentralised": graph, **changes})


def test_silos_that_keep_a_model_each_need_nothing_of_an_aggregator() -> None:
    assert first_fault(without_aggregator(Balance())) is None
    for changes in (
        {"strategy": FedAdam()},
        {"robust": CoordinateMedian()},
        {"norm_bound": 1.0},
        {"gate": Gate()},
        {"personal": Ditto()},
        {"compression": Half()},
        {"schedule": Buffered()},
    ):
        fault = first_fault(without_aggregator(Balance(), **changes))
        assert fault is not None, changes
        assert (fault.code, fault.code in PROBLEMS) == ("plan-decentralised", True)
        assert next(iter(changes)) in fault.detail
    fault = first_fault(without_aggregator(SelfCentredClipping(liars=1)))
    assert fault is not None
    assert fault.code == "plan-liars"


@pytest.mark.parametrize("rule", [Gossip(), Balance(), Ubar(), SelfCentredClipping(liars=1)])
def test_the_panel_of_such_a_study_says_who_reads_a_model_and_who_could_spoil_it(rule: NeighbourRule) -> None:
    sees, spoils, promised, leaves = what_protects_what(without_aggregator(rule))
    assert any("The hub cannot" in answer for answer in sees.answers)
    assert any("neighbour" in answer for answer in spoils.answers)
    assert any("without differential privacy" in answer for answer in promised.answers)
    assert any("No global model" in answer for answer in leaves.answers)


def test_a_graph_is_over_the_plans_own_silos_each_edge_once_and_in_order() -> None:
    graph = without_aggregator(Gossip()).decentralised
    assert graph is not None
    assert graph.neighbours(SILOS[0]) == (SILOS[1], SILOS[11])
    first, second = graph.edges[0]
    for edges in (((second, first),), ((first, first),), (*graph.edges, graph.edges[0]), graph.edges[:3]):
        with pytest.raises(ValidationError):
            Decentralised(edges=edges, members=graph.members)
    with pytest.raises(ValidationError, match="other silos than the plan"):
        StudyPlan.model_validate({**plan(Mean()).model_dump(), "silos": SILOS[:5], "quorum": 5, "decentralised": graph})
