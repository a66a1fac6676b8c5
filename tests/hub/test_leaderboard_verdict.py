"""The three answers say what the numbers say, and no more."""

from federation_hub.leaderboards.board import Estimate, SiteValue
from federation_hub.leaderboards.verdict import Answer, verdict
from tests.hub.boards import board, entry


def answers(*entries: object, **changes: object) -> dict[str, Answer]:
    """Return the answers of a board by question."""
    return {answer.question: answer for answer in verdict(board(*entries, **changes))}  # type: ignore[arg-type]


def test_a_clear_winner_is_named_with_its_interval() -> None:
    """Name, score and interval, and how sites were weighed."""
    found = answers(entry("Model A"), entry("Model B", group=2))
    assert found["Best model"].answer == "Model A"
    assert "0.920 (95% interval 0.880 to 0.950)" in found["Best model"].notes[0]
    assert found["How sure"].answer == "97%"
    assert "expect 0.800 to 0.980" in " ".join(found["How sure"].notes)


def test_a_tie_is_called_a_tie() -> None:
    """No single winner is named where the data cannot tell models apart."""
    tied = [entry("A", first=0.6), entry("B", first=0.4), entry("C", group=2)]
    found = answers(*tied)
    assert found["Best model"].answer == "A and B are tied"
    assert "cannot say which is better at hospitals in general" in " ".join(found["Best model"].notes)
    assert "that A ranks first at these very hospitals" in found["How sure"].notes[0]


def test_a_large_tie_is_counted() -> None:
    """Twelve names would not be an answer."""
    assert answers(*(entry(f"Model {index}") for index in range(12)))["Best model"].answer == "12 models are tied"


def test_the_weakest_hospital_is_named_with_its_value_and_the_gap() -> None:
    """A good mean must not hide it."""
    found = answers(entry())["Where it fails"]
    assert found.answer == "Site B: 0.860"
    assert "0.810 to 0.900" in found.notes[0]
    assert "0.090 from its best hospital" in found.notes[0]


def test_a_missed_floor_is_said_in_words() -> None:
    """Under the floor at one hospital counts, whatever the mean."""
    worst = SiteValue("Site B", Estimate(0.86, 0.81, 0.9), worst=True, under_floor=True)
    assert "misses the floor" in answers(entry(worst=worst), floor=0.9)["Where it fails"].notes[0]


def test_single_hospitals_stay_hidden_where_they_are_not_public() -> None:
    """The third question is then answered honestly: not shown."""
    assert answers(entry(worst=None))["Where it fails"].answer == "Not shown"


def test_nothing_is_claimed_before_enough_hospitals_reported() -> None:
    """Until then the board has no entries, only models that wait."""
    assert verdict(board(site_count=2)) == ()


def test_no_chance_is_ever_zero_or_certain() -> None:
    """Ten thousand draws cannot show either."""
    assert answers(entry(first=1.0), entry("B", group=2))["How sure"].answer == ">99%"


def test_the_only_model_is_neither_the_best_nor_surely_the_first() -> None:
    """There is nothing to be better than; what a new hospital may expect is said all the same."""
    found = answers(entry("Model A", first=1.0))
    assert found["The only model"].answer == "Model A"
    assert found["How sure"].answer == "Nothing to compare"
    assert "expect 0.800 to 0.980" in " ".join(found["How sure"].notes)
