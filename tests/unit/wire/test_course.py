"""What decides about a study's course: verdicts at a site, the best model, a roll-back, an early stop."""

import pytest
from pydantic import ValidationError

from federation_hub.studies.course import Judgement, Scored, Told, best_of, converged, judge, overall
from silo_node.wire.course import (
    Buffered,
    Evaluation,
    Gate,
    InRounds,
    discount,
    is_scored,
    reference_of,
    standing_scores,
    verdict_on,
)
from silo_node.wire.soundness import first_fault
from silo_node.wire.strategies import CoordinateMedian, FedBN, Mean, Scaffold
from silo_node.wire.studies import LocalTraining, SiteScore, StudyPlan, judged
from tests.unit.wire.test_soundness import plan as sound_plan

GATE = Gate(tolerance=0.05, veto=0.2, vetoes=2)
STEPS = LocalTraining(optimiser="sgd", momentum=0.0)


def plan(**changes: object) -> StudyPlan:
    return sound_plan(Mean()).model_copy(update=changes)


@pytest.mark.parametrize(
    ("value", "reference", "verdict"),
    [(0.80, 0.80, "accepted"), (0.76, 0.80, "accepted"), (0.74, 0.80, "kept-own"), (0.59, 0.80, "vetoed"),
     (None, 0.80, "accepted"), (0.1, None, "accepted")],
)  # fmt: skip
def test_a_site_judges_a_model_by_the_best_it_accepted(value: float, reference: float, verdict: str) -> None:
    assert verdict_on(GATE, value, reference, higher=True) == verdict


def test_a_distance_is_judged_the_other_way_round() -> None:
    assert verdict_on(GATE, 0.80, 0.74, higher=False) == "kept-own"
    assert verdict_on(GATE, 0.10, 0.74, higher=False) == "accepted"
    assert reference_of([0.3, 0.2], higher=False) == 0.2


def test_what_came_after_a_model_that_comes_again_is_forgotten() -> None:
    """A rolled-back model leaves no reference behind that the next ones would be measured by."""
    entries = [("a", 0.7, "accepted"), ("b", 0.9, "accepted"), ("c", 0.5, "vetoed")]
    assert standing_scores(entries, "d") == [0.7, 0.9]
    assert standing_scores(entries, "b") == [0.7]
    assert standing_scores(entries, "a") == []


def test_k_vetoes_go_back_to_the_last_model_that_stands() -> None:
    standing = [Scored(0, 0.5), Scored(1, 0.7), Scored(3, 0.6)]
    one = [Told(0.3, 10, "vetoed"), Told(0.7, 10, "accepted"), Told(0.6, 10, "kept-own")]
    two = [*one, Told(0.2, 10, "vetoed")]
    assert judge(plan(gate=GATE), 4, one, standing, higher=True).outcome == "close"
    assert judge(plan(gate=GATE), 4, two, standing, higher=True) == Judgement("roll-back", 0.45, 3)
    assert judge(plan(gate=GATE), 4, two, [], higher=True).restore == 0
    assert judge(plan(gate=GATE), 0, two, [], higher=True).outcome == "close", "there is nothing before the start"


def test_the_best_model_is_a_trained_one_and_the_last_of_equals() -> None:
    models = [Scored(0, 0.9), Scored(1, 0.6), Scored(2, 0.8), Scored(3, 0.8), Scored(4, None)]
    assert best_of(models, higher=True) == models[3]
    assert best_of(models, higher=False) == models[1]
    assert best_of([Scored(0, 0.9)], higher=True) is None


def test_a_models_score_is_over_cases_or_sites_or_the_worst() -> None:
    told = [Told(0.6, 30), Told(0.9, 10), Told(None, 50)]
    for by, value in (("cases", 0.675), ("sites", 0.75), ("worst", 0.6)):
        assert overall(told, Evaluation(by=by), higher=True) == pytest.approx(value)
    assert overall(told, Evaluation(by="worst"), higher=False) == 0.9
    assert overall([Told(None, 5)], Evaluation(), higher=True) is None


def test_training_stops_after_so_many_models_without_a_gain() -> None:
    rule = Evaluation(patience=2, least_gain=0.01)
    rising = [Scored(n, 0.5 + 0.02 * n) for n in range(6)]
    assert not converged(rising, rule, higher=True)
    assert not converged([*rising, Scored(6, 0.6)], rule, higher=True)
    assert converged([*rising, Scored(6, 0.6), Scored(7, 0.605)], rule, higher=True)
    assert not converged([*rising, Scored(6, 0.6), Scored(7, 0.7)], rule, higher=True)
    assert not converged(rising * 3, Evaluation(), higher=True)


def test_the_first_and_the_last_model_are_scored_whatever_the_cadence() -> None:
    assert [n for n in range(8) if is_scored(Evaluation(every=3), 7, n)] == [0, 3, 6, 7]


def test_a_stale_update_counts_less_in_a_buffered_study_only() -> None:
    assert [discount(Buffered(), staleness) for staleness in (0, 3)] == [1.0, 0.5]
    assert discount(InRounds(), 3) == 1.0


def test_with_fedbn_a_model_is_judged_with_the_sites_own_layers() -> None:
    shared, own = SiteScore(metric="auroc", value=0.5, cases=9), SiteScore(metric="auroc", value=0.8, cases=9)
    assert judged(plan(personal=FedBN()), shared, own) is own
    assert judged(plan(), shared, own) is shared


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"strategy": Scaffold(), "local": STEPS}, None),
        ({"strategy": Scaffold()}, "plan-scaffold-steps"),
        ({"strategy": Scaffold(), "local": STEPS.model_copy(update={"proximal": 0.1})}, "plan-scaffold-steps"),
        ({"strategy": Scaffold(), "local": STEPS, "robust": CoordinateMedian()}, "plan-scaffold-rule"),
        ({"gate": GATE}, None),
        ({"gate": Gate(vetoes=13)}, "plan-gate-unreachable"),
        ({"gate": GATE, "evaluation": Evaluation(every=6)}, "plan-gate-seldom"),
        ({"schedule": Buffered()}, None),
        ({"schedule": Buffered(), "gate": GATE}, "plan-not-buffered"),
        ({"schedule": Buffered(), "evaluation": Evaluation(patience=1)}, "plan-not-buffered"),
        ({"schedule": Buffered(), "strategy": Scaffold(), "local": STEPS}, "plan-not-buffered"),
    ],
)
def test_what_cannot_hold_is_refused(changes: dict[str, object], code: str | None) -> None:
    fault = first_fault(plan(**changes))
    assert (fault.code if fault else None) == code


def test_a_veto_asks_for_more_than_the_tolerance() -> None:
    with pytest.raises(ValidationError, match="larger loss"):
        Gate(tolerance=0.2, veto=0.1)
