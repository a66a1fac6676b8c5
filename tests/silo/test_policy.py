"""The site's rules: careful by default, read at each decision, and each refusal a code."""

import json
from pathlib import Path

import pytest

from silo_node.policy import (
    EvaluationRequest,
    Policy,
    RoundRequest,
    allow_benchmark,
    decide_consent,
    decide_evaluation,
    decide_release,
    decide_round,
    drop_benchmark,
    load_policy,
)
from silo_node.policy.decisions import Released
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.errors import PROBLEMS, ConfigError
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import StudyPlan

DIGEST = "blake3:" + "a" * 64
EVALUATION = EvaluationRequest("chest_phantom", 100, (1,))
ROUND = RoundRequest("chest_phantom", 100, DIGEST, DIGEST)


def policy(**rules: object) -> Policy:
    """Return a policy that takes part in one benchmark, with these rules besides."""
    return Policy.model_validate_json(json.dumps({"benchmarks": {"allow": ["chest_phantom"]}, **rules}))


def plan(**changes: object) -> StudyPlan:
    """Return a study's plan."""
    values = {
        "name": "lungs",
        "title": "Lungs",
        "benchmark": BenchmarkReference(name="chest_phantom", version=1, digest=DIGEST),
        "model": ModelReference(digest=DIGEST, size=10),
        "silos": ("silo-aaaaaaaa",),
        "rounds": 3,
        "quorum": 1,
        "deadline_seconds": 60,
        **changes,
    }
    return StudyPlan.model_validate(values)


def test_without_a_file_nothing_is_joined_and_everything_is_held(tmp_path: Path) -> None:
    """The careful answer is the default one."""
    found = load_policy(Home(tmp_path))
    assert decide_evaluation(found, EVALUATION).code == "policy-benchmark"
    assert decide_consent(found, plan(), 100).code == "policy-benchmark"
    kinds: tuple[Released, ...] = ("registrations", "results", "updates")
    assert {decide_release(found, kind).verdict for kind in kinds} == {"hold"}


def test_an_evaluation_needs_its_benchmark_its_tier_and_enough_cases() -> None:
    """In this order, and each with the rule that decided."""
    allowed = decide_evaluation(policy(), EVALUATION)
    assert (allowed.verdict, allowed.code) == ("allow", None)
    for request, code, rule in (
        (EvaluationRequest("other", 100, (1,)), "policy-benchmark", "benchmarks.allow"),
        (EvaluationRequest("chest_phantom", 100, (1, 3)), "policy-model-tier", "model_tiers"),
        (EvaluationRequest("chest_phantom", 19, (1,)), "policy-minimum-cohort", "minimum_cohort"),
    ):
        decision = decide_evaluation(policy(), request)
        assert (decision.verdict, decision.code, decision.rule) == ("refuse", code, rule)


def test_a_study_waits_for_a_person_unless_the_policy_names_it() -> None:
    """And never comes in through a benchmark the site does not take part in."""
    assert decide_consent(policy(), plan(), 100).verdict == "hold"
    assert decide_consent(policy(studies={"allow": ["lungs"]}), plan(), 100).verdict == "allow"
    assert decide_consent(policy(studies={"others": "auto"}), plan(), 100).verdict == "allow"
    assert decide_consent(policy(studies={"others": "refuse"}), plan(), 100).code == "policy-study"
    assert decide_consent(policy(studies={"maximum_rounds": 2}), plan(), 100).code == "policy-study"
    assert decide_consent(policy(studies={"others": "auto"}), plan(), 10).code == "policy-minimum-cohort"
    assert decide_consent(policy(studies={"others": "auto"}), plan(), None).code == "cohort-unknown"
    without_benchmark = policy(studies={"allow": ["lungs"]}, benchmarks={"allow": []})
    assert decide_consent(without_benchmark, plan(), 100).code == "policy-benchmark"


def test_a_round_runs_only_under_the_very_plan_that_was_agreed_to() -> None:
    """A plan changed by one byte has another digest."""
    assert decide_round(policy(), ROUND).verdict == "allow"
    never = RoundRequest("chest_phantom", 100, DIGEST, None)
    another = RoundRequest("chest_phantom", 100, DIGEST, "blake3:" + "b" * 64)
    assert decide_round(policy(), never).code == "policy-study"
    assert decide_round(policy(), another).code == "policy-study"
    assert decide_round(Policy(), ROUND).code == "policy-benchmark"
    assert decide_round(policy(minimum_cohort=101), ROUND).code == "policy-minimum-cohort"


def test_every_code_of_a_refusal_is_one_the_other_side_knows() -> None:
    """A refusal without a meaning helps nobody."""
    codes = {
        decide_evaluation(Policy(), EVALUATION).code,
        decide_consent(policy(studies={"others": "refuse"}), plan(), 100).code,
        decide_round(policy(), RoundRequest("chest_phantom", 1, DIGEST, DIGEST)).code,
    }
    assert codes <= PROBLEMS.keys()


def test_what_leaves_by_itself_is_said_for_each_kind() -> None:
    """Results may go while updates wait."""
    mixed = policy(release={"results": "auto"})
    assert decide_release(mixed, "results").verdict == "allow"
    assert decide_release(mixed, "updates").verdict == "hold"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("minimum_cohrt = 5", "config-unknown-key"),
        ("[release]\nresult = 'auto'", "config-unknown-key"),
        ("[release]\nresults = 'always'", "policy-invalid"),
        ("model_tiers = [4]", "policy-invalid"),
        ("minimum_cohort = 0", "policy-invalid"),
        ("[benchmarks]\nallow = ['Chest Phantom']", "policy-invalid"),
        ("this is not TOML", "policy-invalid"),
    ],
)
def test_a_policy_that_is_not_valid_decides_nothing(tmp_path: Path, text: str, code: str) -> None:
    """The node then refuses work; it does not fall back to other rules."""
    home = Home(tmp_path)
    home.policy_file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_policy(home)
    assert caught.value.code == code


def test_joining_and_leaving_change_one_line_and_keep_the_rest(tmp_path: Path) -> None:
    """Comments are what the next person needs most."""
    home = Home(tmp_path)
    home.policy_file.write_text(
        "# ours\nminimum_cohort = 30 # board, 3 May\n\n[benchmarks]\n# joined:\nallow = [\n  'one',\n]\n"
    )
    assert allow_benchmark(home, "two").benchmarks.allow == ("one", "two")
    assert allow_benchmark(home, "two").benchmarks.allow == ("one", "two")
    text = home.policy_file.read_text()
    assert "# board, 3 May" in text
    assert "# joined:" in text
    assert drop_benchmark(home, "one").benchmarks.allow == ("two",)
    assert load_policy(home).minimum_cohort == 30


@pytest.mark.parametrize("text", [None, "", "minimum_cohort = 7\n", "[benchmarks]\n", "[studies]\nothers = 'auto'\n"])
def test_a_benchmark_can_be_joined_whatever_the_file_looks_like(tmp_path: Path, text: str | None) -> None:
    """Also where there is none yet: then everything else in it is the careful default."""
    home = Home(tmp_path)
    if text is not None:
        home.policy_file.write_text(text)
    before = load_policy(home)
    after = allow_benchmark(home, "chest_phantom")
    assert after.benchmarks.allow == ("chest_phantom",)
    assert after.model_copy(update={"benchmarks": before.benchmarks}) == before


def test_a_layout_the_edit_does_not_understand_is_left_alone(tmp_path: Path) -> None:
    """Better a question to a person than another rule changed by mistake."""
    home = Home(tmp_path)
    home.policy_file.write_text("benchmarks = { allow = ['one'] }\n")
    with pytest.raises(ConfigError, match="by hand"):
        allow_benchmark(home, "two")
    assert load_policy(home).benchmarks.allow == ("one",)
