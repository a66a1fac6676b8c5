"""The site's rules: careful by default, read at each decision, and each refusal a code."""

import json
import tomllib
from datetime import datetime
from pathlib import Path

import pytest

from silo_node.agent.learning import Learning
from silo_node.journal import Journal
from silo_node.policy import (
    AskedModel,
    Asker,
    EvaluationRequest,
    Policy,
    RoundRequest,
    agreed_level,
    allow_benchmark,
    decide_consent,
    decide_evaluation,
    decide_learning,
    decide_models,
    decide_question,
    decide_release,
    decide_round,
    decide_spending,
    drop_benchmark,
    load_policy,
    offered_levels,
)
from silo_node.policy.bits import report_bits, update_bits
from silo_node.policy.budget import Ledger, Spent
from silo_node.policy.decisions import Released
from silo_node.policy.hours import is_quiet
from silo_node.policy.rules import TEMPLATE
from silo_node.policy.words import ExplainedModel, Explanation, consequences, explained, explanation
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.compression import Int8, TopK
from silo_node.wire.errors import PROBLEMS, ConfigError, PolicyRefusal, WireError
from silo_node.wire.models import ModelReference
from silo_node.wire.studies import RoundReport, RoundTask, SiteScore, StudyConsentRequest, StudyPlan
from silo_node.wire.transfers import BlobReference

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
    assert decide_consent(policy(studies={"others": "auto"}), plan(), None).code == "policy-minimum-cohort"
    without_benchmark = policy(studies={"allow": ["lungs"]}, benchmarks={"allow": []})
    assert decide_consent(without_benchmark, plan(), 100).code == "policy-benchmark"


def test_a_site_may_ask_that_its_updates_lose_less_than_the_plan_wants() -> None:
    """It is no reason to stay away: the decision says at which level they leave."""
    asked, strict = plan(compression=TopK(fraction=0.01)), policy(studies={"others": "auto", "lossiest": "half"})
    assert offered_levels(strict) == ("none", "lossless", "half")
    decision = decide_consent(strict, asked, 100)
    assert decision.verdict == "allow"
    assert "level half, where the plan asks for topk" in explained(Explanation(decision))
    assert agreed_level(policy(), asked, "topk") == TopK(fraction=0.01)
    assert agreed_level(strict, asked, "topk").level == "half", "stricter since it said yes"
    assert agreed_level(policy(), plan(compression=Int8()), "topk").level == "int8", "never more than the plan"
    assert agreed_level(policy(), asked, "lossless").level == "lossless"


def test_a_level_of_another_release_is_refused_with_a_code() -> None:
    """In a task of a newer hub, and in a plan, which can be read all the same: other studies' questions go on."""
    with pytest.raises(WireError, match="compression-unknown"):
        agreed_level(policy(), plan(compression=Int8()), "fp4")
    newer = plan(compression={"level": "fp4", "bits": 4})
    assert decide_consent(policy(studies={"others": "auto"}), newer, 100).code == "compression-unknown"


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


def test_who_asks_and_what_for_decides_too() -> None:
    """An absent list lets everybody ask, an empty one nobody; a request that names nobody is on no list."""
    asked = EvaluationRequest("chest_phantom", 100, (1,), ("Example University",))
    assert decide_evaluation(policy(), asked).verdict == "allow"
    for organisations, code in (
        (["Example University"], None),
        (["Other"], "policy-requester"),
        ([], "policy-requester"),
    ):
        decision = decide_evaluation(policy(requesters={"organisations": organisations}), asked)
        assert decision.code == code
    assert decide_evaluation(policy(requesters={"organisations": ["x"]}), EVALUATION).code == "policy-requester"
    product = EvaluationRequest("chest_phantom", 100, (1,), (), "product-development")
    assert decide_evaluation(policy(), product).code == "policy-purpose"
    people = policy(requesters={"people": ["Ada"]}, studies={"others": "auto"})
    assert decide_consent(people, plan(), 100, Asker("Example University", "Ada")).verdict == "allow"
    assert decide_consent(people, plan(), 100, Asker("Example University", "Eve")).code == "policy-requester"
    bases = policy(purposes={"legal_bases": ["consent"]}, studies={"others": "auto"})
    assert decide_consent(bases, plan(), 100).code == "policy-purpose"
    assert decide_consent(bases, plan(legal_basis="consent"), 100).verdict == "allow"
    rounds = RoundRequest("chest_phantom", 100, DIGEST, DIGEST, "product-development")
    assert decide_round(policy(), rounds).code == "policy-purpose"


def test_a_model_with_code_needs_its_tier_and_its_very_digest() -> None:
    """One written yes to tier 3 does not let every such model in."""
    asked = EvaluationRequest("chest_phantom", 100, (3,), digests=(DIGEST,))
    assert decide_evaluation(policy(), asked).rule == "model_tiers"
    assert decide_evaluation(policy(model_tiers=[1, 3]), asked).rule == "containers"
    assert decide_evaluation(policy(model_tiers=[1, 3], containers=["blake3:" + "b" * 64]), asked).rule == "containers"
    assert decide_evaluation(policy(model_tiers=[1, 3], containers=[DIGEST]), asked).verdict == "allow"


def test_a_budget_of_models_and_bits_is_each_owners_own() -> None:
    """What was evaluated before costs no submission; at the cap nothing more is told."""
    tight = policy(budget={"submissions": 3, "bits": 1000})
    asked = EvaluationRequest("chest_phantom", 100, (1,), ("A", "B"), new={"A": 1, "B": 0})
    assert decide_evaluation(tight, asked, {"A": Spent(2)}).verdict == "allow"
    assert decide_evaluation(tight, asked, {"A": Spent(3)}).rule == "budget.submissions"
    assert decide_evaluation(tight, asked, {"B": Spent(9)}).verdict == "allow"
    assert decide_evaluation(tight, asked, {"B": Spent(0, 1000)}).rule == "budget.bits"
    assert decide_spending(tight, "A", Spent(1, 400), 600).verdict == "allow"
    assert decide_spending(tight, "A", Spent(1, 400), 601).code == "policy-budget"
    loss = policy(budget={"epsilon": 8}, studies={"others": "auto"})
    assert decide_consent(loss, plan(), 100).code == "policy-budget"


def test_a_no_to_one_model_leaves_the_others() -> None:
    """Tier, digest, owner and budget are each model's own; one counts once those before it were let in."""
    asked = (("a", "A", 1), ("b", "A", 2), ("c", "B", 1), ("d", "A", 1))
    models = [AskedModel(f"blake3:{letter * 64}", owner, tier) for letter, owner, tier in asked]
    rules = policy(budget={"submissions": 2}, requesters={"organisations": ["A"]})
    found = decide_models(rules, "chest_phantom", models, {"A": Spent(0)})
    assert [decision.rule for decision in found.values()] == [
        "model_tiers",
        "model_tiers",
        "requesters.organisations",
        "model_tiers",
    ]
    assert [decision.code for decision in found.values()] == [None, "policy-model-tier", "policy-requester", None]
    again = decide_models(rules, "chest_phantom", models, {"A": Spent(1, models=frozenset({models[3].digest}))})
    assert [decision.code for decision in again.values()][::3] == [None, None]
    full = decide_models(rules, "chest_phantom", models, {"A": Spent(1, models=frozenset({"blake3:" + "e" * 64}))})
    assert [decision.code for decision in full.values()][::3] == [None, "policy-budget"]


def test_an_explanation_shows_every_rule_up_to_the_one_that_decided() -> None:
    """In words for a person, and as the same values for a program."""
    found = Explanation(decide_evaluation(policy(minimum_cohort=200), EVALUATION))
    text = explained(found)
    assert text.startswith("No [policy-minimum-cohort]: rule minimum_cohort decided.")
    assert "yes  benchmarks.allow: benchmark 'chest_phantom' is on the list" in text
    assert "no   minimum_cohort: the cohort has 100 cases, and 200 are the fewest" in text
    assert explanation(found)["checks"][-1]["code"] == "policy-minimum-cohort"
    assert "A person decides" in explained(Explanation(decide_consent(policy(), plan(), 100)))


def test_an_explanation_shows_for_each_model_which_rule_decided() -> None:
    """The request stands while one model is served; where none is, the first one's rule decided it all."""
    rules = policy(requesters={"organisations": ["A"]})
    asked = [AskedModel(f"blake3:{letter * 64}", owner, tier) for letter, owner, tier in (("a", "A", 2), ("b", "B", 1))]
    decisions = decide_models(rules, "chest_phantom", asked)
    models = tuple(ExplainedModel(model.digest, model.owner, decisions[model.digest]) for model in asked)
    whole = decide_question(rules, EVALUATION)
    none_left = Explanation(whole, models)
    assert (none_left.outcome.verdict, none_left.outcome.rule) == ("refuse", "model_tiers")
    served = ExplainedModel(DIGEST, "A", decide_models(rules, "chest_phantom", [AskedModel(DIGEST, "A", 1)])[DIGEST])
    mixed = Explanation(whole, (*models, served))
    text = explained(mixed)
    assert text.startswith("Yes: rule benchmarks.allow decided.")
    assert f"{asked[0].digest} of A: No [policy-model-tier]: rule model_tiers decided." in text
    assert f"{asked[1].digest} of B: No [policy-requester]: rule requesters.organisations decided." in text
    assert [model["rule"] for model in explanation(mixed)["models"]] == [
        "model_tiers",
        "requesters.organisations",
        "model_tiers",
    ]


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ("06:59", False),
        ("07:00", True),
        ("18:29", True),
        ("18:30", False),
        ("23:00", True),
        ("01:00", True),
        ("02:00", False),
    ],
)
def test_quiet_hours_may_go_over_midnight(moment: str, quiet: bool) -> None:
    """The end of a span is not in it."""
    now = datetime.fromisoformat(f"2026-11-22T{moment}:00+01:00")
    assert is_quiet(("07:00-18:30", "22:00-02:00"), now) == quiet


def test_the_template_is_a_valid_policy_and_as_careful_as_none() -> None:
    """What commands write when they write the first file."""
    assert Policy.model_validate_json(json.dumps(tomllib.loads(TEMPLATE))) == Policy()


def test_a_policy_is_told_what_it_comes_to() -> None:
    """Where it is less careful than the default, or of no use."""
    assert list(consequences(policy())) == []
    loose = policy(release={"updates": "auto"}, model_tiers=[1, 3], studies={"others": "auto"})
    assert len(list(consequences(loose))) == 3


def test_the_ledger_counts_what_left_and_not_what_was_kept_here(tmp_path: Path) -> None:
    """By owner and month; a result that a person rejected told nobody anything."""
    journal = Journal(Home(tmp_path).create(), now=lambda: "2026-11-22T10:00:00.000+00:00")
    ledger, one, two = Ledger(journal), "blake3:" + "1" * 64, "blake3:" + "2" * 64
    ledger.book("task-1", {"A": ((one,), 100.0), "B": ((two,), 50.0)})
    ledger.book("task-2", {"A": ((one, two), 10.0)})
    ledger.book("task-2", {"A": ((one, two), 20.0)})
    assert ledger.spent() == {"A": Spent(2, 120.0, frozenset({one, two})), "B": Spent(1, 50.0, frozenset({two}))}
    assert ledger.spent(besides="task-1") == {"A": Spent(2, 20.0, frozenset({one, two}))}
    assert ledger.spent("2026-12") == {}
    with journal.writing() as connection:
        connection.execute(
            "INSERT INTO outbox VALUES ('out-1','estimate-block','task-1','{}',NULL,'rejected',NULL,NULL,NULL,'x','x')"
        )
    assert set(ledger.spent()) == {"A"}
    journal.close()


def round_task(**changes: object) -> RoundTask:
    values = {
        "study_id": "study-12345678",
        "round": 1,
        "validate_only": False,
        "plan": plan(),
        "plan_digest": DIGEST,
        "weights": BlobReference(digest=DIGEST, size=100),
        "cohort": "keyed-blake3:" + "b" * 64,
        **changes,
    }
    return RoundTask.model_validate(values)


def round_report(task_id: str, update: BlobReference | None = None) -> RoundReport:
    return RoundReport(
        task_id=task_id,
        study_id="study-12345678",
        silo_id="silo-12345678",
        round=1,
        plan_digest=DIGEST,
        base=DIGEST,
        cohort="keyed-blake3:" + "d" * 64,
        update=update,
        score=SiteScore(metric="auroc", value=0.75, cases=20),
        train_seconds=1.0,
    )


def test_a_rounds_report_is_booked_to_who_asked_for_the_study(tmp_path: Path) -> None:
    """Its update by the piece and its numbers by their bits; the next round over a budget does not begin."""
    home, journal, update = Home(tmp_path).create(), Journal(Home(tmp_path)), BlobReference(digest=DIGEST, size=4000)
    home.policy_file.write_text("[budget]\nupdates = 2\n")
    with journal.writing() as connection:
        asked = StudyConsentRequest(
            association_id="assoc-12345678",
            study_id="study-12345678",
            requested_by="Ada",
            organisation="University",
            plan=plan(),
            hub_public_key="A" * 43 + "=",
        )
        values = (asked.study_id, asked.association_id, asked.model_dump_json(), DIGEST, journal.now())
        connection.execute("INSERT INTO consent VALUES (?,?,?,?,?)", values)
    for number in (1, 2, 2):  # the last is the same task again, after a restart
        learning = Learning(home, journal, f"task-0000000{number}", round_task())
        learning.refuse_over_budget()
        learning.book(round_report(f"task-0000000{number}", update))
    spent = Ledger(journal).spent()["University"]
    one = report_bits(round_report("task-00000001").model_dump(mode="json"))
    assert (spent.updates, spent.bits) == (2, pytest.approx(2 * one))
    assert 20 < one < 60
    assert update_bits(round_report("task-00000001", update).model_dump(mode="json")) == 32_000
    with pytest.raises(PolicyRefusal, match=r"budget\.updates"):
        Learning(home, journal, "task-00000003", round_task()).refuse_over_budget()
    Learning(home, journal, "task-00000003", round_task(validate_only=True)).refuse_over_budget()
    home.policy_file.write_text(f"[budget]\nbits = {2 * one + 1}\n")
    third = Learning(home, journal, "task-00000003", round_task())
    third.refuse_over_budget()
    with pytest.raises(PolicyRefusal, match=r"budget\.bits"):
        third.book(round_report("task-00000003", update))
    assert Ledger(journal).spent()["University"].updates == 2
    journal.close()


def test_rounds_and_evaluations_draw_on_one_budget_of_bits(tmp_path: Path) -> None:
    """Whoever asks by both ways learns no more; what was kept here counts for neither."""
    journal = Journal(Home(tmp_path).create())
    ledger = Ledger(journal)
    ledger.book("task-00000001", {"University": ((DIGEST,), 100.0)})
    ledger.book_round("task-00000002", "University", updates=1, bits=30.0)
    spent = ledger.spent()["University"]
    assert (spent.submissions, spent.bits, spent.updates) == (1, 130.0, 1)
    assert ledger.spent(besides="task-00000002")["University"].updates == 0
    assert decide_learning(policy(budget={"bits": 150}), "University", spent, updates=1, bits=20).verdict == "allow"
    assert decide_learning(policy(budget={"bits": 150}), "University", spent, updates=1, bits=21).rule == "budget.bits"
    assert decide_learning(policy(budget={"updates": 1}), "University", spent, updates=1).rule == "budget.updates"
    assert decide_learning(policy(budget={"updates": 1}), "University", spent, updates=0).verdict == "allow"
    with journal.writing() as connection:
        connection.execute(
            "INSERT INTO outbox VALUES ('i','round-report','task-00000002','{}',NULL,'declined','x',NULL,NULL,'','')"
        )
    assert ledger.spent()["University"].updates == 0
    journal.close()
