"""Questions about a cohort: no small number is told, nor follows from what was told, however many are asked."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmarks.statistics.counts import mean_of, quantile_level, rounded_count, tells_of_few, told_levels
from silo_node.agent.holdings import Holding
from silo_node.agent.statistics import FEWEST, Desk, levels_of, selected
from silo_node.agent.tasks import TaskRecord
from silo_node.cohorts.manifest import Manifest
from silo_node.console.pages.work import job
from silo_node.journal import Journal
from silo_node.policy import Policy
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.state import Home
from silo_node.wire.envelope import new_key, seal
from silo_node.wire.errors import PolicyRefusal
from silo_node.wire.statistics import Condition, StatisticsQuestion, StatisticsTask, level_value
from silo_node.wire.tasks import Task

DIGEST = "blake3:" + "a" * 64


def cohort(people: list[dict[str, str]]) -> Holding:
    """Return a cohort with one case a person."""
    names = [f"{number:016x}" for number in range(len(people))]
    cases = [
        {"case": name, "patient": name, "split": "train", "path": f"cases/{name}.safetensors", "digest": DIGEST,
         "label": 0, "attributes": attributes}
        for name, attributes in zip(names, people, strict=True)
    ]  # fmt: skip
    benchmark = {"name": "chest_phantom", "version": 1, "digest": DIGEST}
    values = {"cohort_id": "coh-" + "1" * 16, "benchmark": benchmark, "cases": tuple(cases)}
    return Holding("coh-" + "1" * 16, Path("/nowhere"), Manifest.model_validate(values))


PEOPLE = cohort(
    [{"sex": "f", "maker": "ge"}] * 40
    + [{"sex": "f", "maker": "siemens"}] * 20
    + [{"sex": "m", "maker": "ge"}] * 35
    + [{"sex": "m", "maker": "siemens"}] * 4
    + [{"maker": "philips"}] * 13
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(Home(tmp_path / "node").create())


def asked(journal: Journal, question: StatisticsQuestion, policy: Policy | None = None) -> dict[str, int | None] | bool:
    """Put a question to the desk; return its cells, or whether its band may be told."""
    body = StatisticsTask(
        query_id="query-00000001",
        benchmark=PEOPLE.manifest.benchmark,
        cohort="keyed-blake3:" + "b" * 64,
        question=question,
        organisation="University",
    )
    desk = Desk(journal, body, PEOPLE, policy or Policy())
    inside, outside = selected(PEOPLE.manifest, question)
    if question.attribute is None:
        return desk.band_may_be_told(inside, outside, FEWEST)
    cells = levels_of(inside, question.attribute)
    if question.epsilon is not None:
        return {cell.level: cell.patients for cell in desk.noisy(cells, question.epsilon)}
    return {cell.level: cell.patients for cell in desk.exact(cells, outside, FEWEST)}


def where(**levels: str) -> tuple[Condition, ...]:
    return tuple(Condition(attribute=name, levels=(level,)) for name, level in levels.items())


def test_counts_are_rounded_and_small_ones_withheld_with_another(journal: Journal) -> None:
    """Of the men 4 have a siemens image: to withhold just that would give it back as the rest."""
    assert asked(journal, StatisticsQuestion(attribute="sex")) == {"f": 60, "m": 40, "none-told": 15}
    fresh = StatisticsQuestion(attribute="maker", where=where(sex="m"))
    with pytest.raises(PolicyRefusal, match="policy-differencing"):
        asked(journal, StatisticsQuestion(attribute="maker"))  # beside the table of sexes it tells of the 4 men
    assert asked(journal, fresh) == {"ge": None, "siemens": None}


def test_a_band_is_never_told_of_few_and_looks_like_none(journal: Journal) -> None:
    """Four men, nobody at all, all but four: not one of them gets another answer than nobody."""
    assert asked(journal, StatisticsQuestion(where=where(sex="f"))) is True
    for question in (where(sex="m", maker="siemens"), where(maker="canon")):
        assert asked(journal, StatisticsQuestion(where=question)) is False
    assert asked(journal, StatisticsQuestion(where=where(maker="siemens"))) is False  # 20 women and 4 men
    assert asked(journal, StatisticsQuestion(where=where(sex="f"))) is True


def test_what_was_told_is_in_the_ledger_and_exact_counts_end_with_a_budget(journal: Journal) -> None:
    asked(journal, StatisticsQuestion(attribute="sex"))
    patients = frozenset(PEOPLE.manifest.patients())
    assert PrivacyLedger(journal).spent(patients).without_noise == 1
    with_budget = Policy.model_validate({"budget": {"epsilon": 2.0}})
    with pytest.raises(PolicyRefusal, match="privacy-budget"):
        asked(journal, StatisticsQuestion(attribute="sex"), with_budget)
    assert asked(journal, StatisticsQuestion(), with_budget) is False


def test_noisy_counts_are_booked_and_stop_at_the_budget(journal: Journal) -> None:
    """Every level of the vocabulary has one, whoever there is; OpenDP's noise of scale 1 / epsilon."""
    policy = Policy.model_validate({"budget": {"epsilon": 2.5}})
    question = StatisticsQuestion(attribute="sex", epsilon=1.0)
    told = [asked(journal, question, policy) for _ in range(2)]
    assert all(isinstance(one, dict) and set(one) == {"f", "m", "o", "none-told"} for one in told)
    patients = frozenset(PEOPLE.manifest.patients())
    assert 1.9 < PrivacyLedger(journal).spent(patients).epsilon(1e-5) < 2.1
    with pytest.raises(PolicyRefusal, match="privacy-budget"):
        asked(journal, question, policy)
    drawn = [asked(journal, StatisticsQuestion(attribute="sex", epsilon=0.5)) for _ in range(40)]
    noise = np.array([one["f"] - 60 for one in drawn if isinstance(one, dict)])  # type: ignore[operator]
    assert 1.0 < np.abs(noise).mean() < 3.5  # two for a scale of two


def test_no_sequence_of_questions_makes_a_small_cell() -> None:
    """Random partitions are let through or not; what was let through never divides anybody into few."""
    random, people = np.random.default_rng(1), [f"{number:016x}" for number in range(120)]
    told: list[tuple[frozenset[str], ...]] = []
    refused = 0
    for _ in range(60):
        marks = random.integers(0, 2 + random.integers(3), len(people))
        cells = {str(mark): frozenset(np.array(people)[marks == mark]) for mark in set(marks.tolist())}
        _, new = told_levels(cells, FEWEST)
        if tells_of_few(new, told, FEWEST):
            refused += 1
            continue
        told.append(new)
    keys = [tuple(next(i for i, part in enumerate(parts) if one in part) for parts in told) for one in people]
    assert min(keys.count(key) for key in set(keys)) >= FEWEST
    assert refused > 0
    assert len(told) > 1


def test_a_second_cohort_that_differs_by_few_is_not_told_of() -> None:
    whole = frozenset(f"p{number}" for number in range(50))
    assert tells_of_few((whole - {"p1", "p2"},), [(whole,)], FEWEST)
    assert not tells_of_few((whole,), [(whole,)], FEWEST)


def test_means_and_quantiles_follow_from_told_counts() -> None:
    ages = [(level_value("age_band", level) or 0.0, level, count) for level, count in
            (("90+", 10.0), ("40-44", 30.0), ("50-54", -3.0), ("60-64", 60.0))]  # fmt: skip
    assert mean_of(ages) == pytest.approx((42.5 * 30 + 62.5 * 60 + 92.5 * 10) / 100)
    assert [quantile_level(ages, share) for share in (0.25, 0.5, 0.95)] == ["40-44", "60-64", "90+"]
    assert (mean_of([]), quantile_level([], 0.5)) == (None, None)
    assert level_value("field_strength", "1.5t") == 1.5
    assert level_value("tube_voltage", "120kv") == 120.0
    assert level_value("sex", "f") is None
    assert (rounded_count(12), rounded_count(13)) == (10, 15)


def test_a_running_question_is_told_on_the_consoles_page_of_work() -> None:
    body = StatisticsTask(
        query_id="query-00000001",
        benchmark=PEOPLE.manifest.benchmark,
        cohort="keyed-blake3:" + "b" * 64,
        question=StatisticsQuestion(attribute="sex"),
        organisation="University",
    )
    task = Task(task_id="task-00000001", silo_id="silo-00000001", issued=datetime.now(UTC), body=body)
    now = datetime.now(UTC).isoformat()
    told = job(TaskRecord(task.task_id, "statistics", seal(task, new_key()), "running", None, 0, 0, now, now))
    assert (told.title, told.detail) == ("Question about a cohort", "chest_phantom 1")
