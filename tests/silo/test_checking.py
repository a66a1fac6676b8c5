"""What the check node makes of two runs."""

from silo_node.agent.checking import fault
from silo_node.agent.scores import CaseScore

CASES = [f"{number:016x}" for number in range(6)]


def scores(value: float = 0.75, *, failed: int = 0, seconds: float = 0.1) -> list[CaseScore]:
    return [
        CaseScore(
            case=case, patient=case, label=1, failed=place < failed, scores=(1 - value, value), seconds=seconds,
            peak_memory_mb=200.0,
        )
        for place, case in enumerate(CASES)
    ]  # fmt: skip


def test_two_runs_that_agree_are_well_whatever_they_cost() -> None:
    """Only the cost may differ."""
    assert fault([scores(), scores(seconds=0.7)]) is None


def test_a_model_with_another_answer_the_second_time_is_not_deterministic() -> None:
    """A score that changes with the run cannot be reproduced by anybody."""
    found = fault([scores(), scores(0.7501)])
    assert found is not None
    assert found.code == "model-not-deterministic"


def test_a_model_that_answers_few_cases_does_not_fit() -> None:
    """A few failed cases are the model's own affair, most of them are a fault."""
    assert fault([scores(failed=3)] * 2) is None
    found = fault([scores(failed=4)] * 2)
    assert found is not None
    assert found.code == "model-incompatible"
