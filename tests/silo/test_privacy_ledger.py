"""The privacy ledger: booked before, never changed, the same people through every cohort, and a budget that holds."""

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.privacy.accounting import Mechanism, epsilon_of
from silo_node.agent.holdings import Holding
from silo_node.journal import Journal
from silo_node.policy import Policy, decide_consent
from silo_node.privacy.account import PrivacyAccount, local_privacy, study_mechanism
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.privacy.outlook import Outlook
from silo_node.privacy.words import outlook_words
from silo_node.state import Home
from silo_node.wire.errors import IntegrityError, PolicyRefusal
from silo_node.wire.promises import what_is_promised
from silo_node.wire.protection import what_protects_what
from silo_node.wire.soundness import first_fault
from silo_node.wire.studies import LocalTraining, RoundTask, StudyPlan
from silo_node.wire.transfers import BlobReference

DIGEST = "blake3:" + "a" * 64
PATIENTS = frozenset(f"{number:016x}" for number in range(40))
STEP = Mechanism("gaussian", 2.0, 0.2, 5)


def plan(**changes: object) -> StudyPlan:
    """Return a plan of three rounds and one spare, two steps each at forty patients."""
    values = {
        "name": "quiet",
        "title": "Quiet",
        "benchmark": {"name": "chest_phantom", "version": 1, "digest": DIGEST},
        "model": {"digest": DIGEST, "size": 10},
        "silos": ("silo-000001", "silo-000002", "silo-000003"),
        "rounds": 3,
        "quorum": 2,
        "deadline_seconds": 60,
        "local": LocalTraining(batch_size=20),
        "privacy": {"unit": "patient", "epsilon": 6.0},
        **changes,
    }
    return StudyPlan.model_validate(values)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(Home(tmp_path / "node").create())


def holding(patients: frozenset[str] = PATIENTS, cohort: str = "coh-" + "1" * 16) -> Holding:
    from silo_node.cohorts.manifest import Manifest

    cases = [
        {
            "case": patient,
            "patient": patient,
            "split": "train",
            "path": f"cases/{patient}.safetensors",
            "digest": DIGEST,
            "label": 0,
            "attributes": {},
        }
        for patient in sorted(patients)
    ]
    benchmark = {"name": "chest_phantom", "version": 1, "digest": DIGEST}
    manifest = Manifest.model_validate({"cohort_id": cohort, "benchmark": benchmark, "cases": tuple(cases)})
    return Holding(cohort, Path("/nowhere"), manifest)


def round_task(study: StudyPlan, study_id: str = "study-00000001") -> RoundTask:
    return RoundTask(
        study_id=study_id,
        plan=study,
        plan_digest=DIGEST,
        round=1,
        validate_only=False,
        cohort="keyed-blake3:" + "b" * 64,
        weights=BlobReference(digest=DIGEST, size=1),
    )


def test_a_line_is_never_changed_deleted_or_forged(journal: Journal, tmp_path: Path) -> None:
    """The database refuses; whoever takes its guard away breaks the chain."""
    ledger = PrivacyLedger(journal)
    for number in range(3):
        ledger.book("coh-1", "train", PATIENTS, "round", f"study-{number}", STEP)
    assert ledger.verify()[0] == 3
    for statement in ("UPDATE privacy SET mechanism = '{}'", "DELETE FROM privacy WHERE number = 2"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"), journal.writing() as connection:
            connection.execute(statement)
    with journal.writing() as connection:
        connection.execute("DROP TRIGGER privacy_is_not_changed")
        connection.execute("UPDATE privacy SET mechanism = replace(mechanism, '2.0', '9.0') WHERE number = 2")
    with pytest.raises(IntegrityError, match="line 2 of the privacy ledger"):
        ledger.verify()


def test_the_same_people_are_counted_through_every_cohort(journal: Journal) -> None:
    """A cohort that was built anew does not begin at nought; strangers' losses are their own."""
    ledger = PrivacyLedger(journal)
    ledger.book("coh-old", "train", PATIENTS, "round", "study-a", STEP)
    ledger.book("coh-new", "train", frozenset([*list(PATIENTS)[:3], "f" * 16]), "round", "study-b", STEP)
    ledger.book("coh-other", "train", frozenset({"e" * 16}), "round", "study-c", STEP)
    ledger.book("coh-old", "test", frozenset({"d" * 16}), "evaluation", "eval-a", Mechanism("none"))
    both = epsilon_of([STEP, STEP], 1e-5)
    assert ledger.spent(PATIENTS).epsilon(1e-5) == both
    assert ledger.spent(frozenset({"e" * 16})).epsilon(1e-5) == epsilon_of([STEP], 1e-5) < both
    assert ledger.spent(frozenset({"d" * 16})).without_noise == 1
    assert ledger.spent(PATIENTS).without_noise == 0


def test_rounds_are_booked_until_the_planned_steps_are_used_up(journal: Journal, tmp_path: Path) -> None:
    """Three rounds and the spare one cost what the plan states, and not a step more is made."""
    account, ledger, study = PrivacyAccount(Home(tmp_path / "node"), journal), PrivacyLedger(journal), plan()
    for _ in range(4):
        account.book_round(round_task(study), holding(), Policy())
    assert 5.9 < ledger.spent(PATIENTS).epsilon(1e-5) <= 6.0
    with pytest.raises(PolicyRefusal, match="privacy-spent"):
        account.book_round(round_task(study), holding(), Policy())
    assert len(ledger.entries()) == 4


def test_a_running_study_stops_at_the_budget(journal: Journal, tmp_path: Path) -> None:
    """The budget was lowered after the yes; and one without noise is not let on at all once there is a budget."""
    account, study = PrivacyAccount(Home(tmp_path / "node"), journal), plan()
    account.book_round(round_task(study), holding(), Policy())
    low = Policy.model_validate({"budget": {"epsilon": 3.0}})
    with pytest.raises(PolicyRefusal, match="privacy-budget"):
        account.book_round(round_task(study), holding(), low)
    account.book_round(round_task(plan(privacy=None), "study-00000002"), holding(), Policy())
    with pytest.raises(PolicyRefusal, match="privacy-budget"):
        account.book_round(round_task(plan(privacy=None), "study-00000002"), holding(), low)
    assert PrivacyLedger(journal).spent(PATIENTS).without_noise == 1


def test_a_study_that_ended_frees_what_it_did_not_use(journal: Journal) -> None:
    ledger = PrivacyLedger(journal)
    ledger.close("study-a")
    ledger.close("study-a")
    assert ledger.closed() == {"study-a"}
    assert len(ledger.entries()) == 1
    assert ledger.verify()[0] == 1


def test_a_site_derives_its_noise_from_its_own_number_of_patients() -> None:
    """Fewer patients: each takes part in more steps' share, so more noise for the same promise."""
    few, many = study_mechanism(plan(), 40), study_mechanism(plan(), 400)
    assert few.rate == 0.5
    assert many.rate == 0.05
    assert few.noise > many.noise
    for mechanism in (few, many):
        assert epsilon_of([mechanism], 1e-5) <= 6.0
    told = local_privacy(plan(), 40)
    assert told is not None
    assert (told.steps, told.noise_multiplier) == (2, few.noise)
    assert local_privacy(plan(privacy=None), 40) is None


def test_the_policy_refuses_a_study_beyond_the_budget_before_it_begins() -> None:
    allowing = {"benchmarks": {"allow": ("chest_phantom",)}, "studies": {"others": "auto"}}
    tight = Policy.model_validate({**allowing, "budget": {"epsilon": 8.0}})
    outlook = Outlook("coh-1", 40, 1e-5, 3.0, 7.9, 0)
    assert decide_consent(tight, plan(), 100, None, outlook).verdict == "allow"
    beyond = decide_consent(tight, plan(), 100, None, replace(outlook, after=8.1))
    assert (beyond.code, beyond.rule) == ("privacy-budget", "budget.epsilon")
    assert decide_consent(tight, plan(privacy=None), 100, None, replace(outlook, after=None)).code == "policy-budget"
    silo_level = plan(privacy={"unit": "silo", "epsilon": 8.0, "clipping_norm": 1.0})
    assert decide_consent(tight, silo_level, 100, None, replace(outlook, after=None)).code == "policy-budget"
    assert dict(outlook_words(outlook)) == {
        "Privacy spent or promised so far": "epsilon 3 at delta 1e-05, over 40 training patients",
        "With this study": "epsilon 7.9 at delta 1e-05",
    }


AT_THE_HUB = {"unit": "silo", "epsilon": 6.0, "clipping_norm": 1.0}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"privacy": {"unit": "patient", "epsilon": 60.0}}, "plan-privacy-weak"),
        ({"privacy": {"unit": "patient", "epsilon": 6.0, "delta": 5e-3}}, "plan-privacy-weak"),
        ({"privacy": AT_THE_HUB}, None),
        ({"privacy": AT_THE_HUB, "robust": "median", "quorum": 3}, "plan-privacy-training"),
        ({"privacy": AT_THE_HUB, "silos": ("silo-000001",), "quorum": 1}, "plan-privacy-training"),
    ],
)
def test_a_promise_that_cannot_be_kept_is_refused(changes: dict[str, object], code: str | None) -> None:
    fault = first_fault(plan(**changes))
    assert (fault and fault.code) == code


def test_a_promise_without_a_unit_is_no_promise() -> None:
    with pytest.raises(ValueError, match="unit"):
        plan(privacy={"epsilon": 1.0})


def test_the_panel_says_what_is_promised_to_whom_and_against_whom() -> None:
    told = {answer.question: " ".join(answer.answers) for answer in what_protects_what(plan())}
    assert "epsilon 6, delta 1e-05" in told["What is a patient promised?"]
    assert "seconds of training" not in told["What leaves the building?"]
    at_the_hub = plan(privacy={"unit": "silo", "epsilon": 6.0, "clipping_norm": 1.0})
    assert "must be trusted" in " ".join(what_is_promised(at_the_hub))
