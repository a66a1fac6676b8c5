"""The decisions: pure functions of (policy, request, history), each a row of checks of which the first no decides.

Every check names its rule and says in words what it found, so that ``silo-node policy explain`` can show the whole row.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from silo_node.policy.budget import NOTHING, Spent
from silo_node.policy.schema import Policy
from silo_node.privacy.outlook import Outlook
from silo_node.wire.compression import Known, LevelName, OtherRelease, agreed, at_level, levels_up_to, loses_more
from silo_node.wire.privacy import PatientPrivacy
from silo_node.wire.studies import StudyPlan

Verdict = Literal["allow", "hold", "refuse"]
Released = Literal["registrations", "results", "updates"]


@dataclass(frozen=True)
class Check:
    """One rule put to one request: the code it refuses with, or None where it has nothing against it."""

    rule: str
    code: str | None
    words: str


@dataclass(frozen=True)
class Decision:
    """A verdict, the code the other side is told, and the rule that decided, for the site's own people."""

    verdict: Verdict
    code: str | None
    rule: str
    words: str = ""
    checks: tuple[Check, ...] = ()
    """What was asked up to the rule that decided."""

    persons: int = 1
    """Where it is held: how many different persons must release it."""


@dataclass(frozen=True)
class EvaluationRequest:
    """What an evaluation asks: these models on this many cases of a cohort."""

    benchmark: str
    cases: int | None
    """None where this site has no such cohort."""

    tiers: tuple[int, ...]
    """As this site's own inspection found them; empty before it."""

    owners: tuple[str, ...] = ()
    """The organisations the models belong to, as the hub says."""

    purpose: str = "benchmarking"
    digests: tuple[str, ...] = ()
    """The models' digests, in the order of ``tiers``."""

    new: Mapping[str, int] = field(default_factory=dict)
    """For each owner, how many of its models were not evaluated here before in this month."""


@dataclass(frozen=True)
class AskedModel:
    """One model of an evaluation."""

    digest: str
    owner: str = ""
    tier: int | None = None
    """As this site's own inspection found it; None before it, or where its scores are here already."""


@dataclass(frozen=True)
class RoundRequest:
    """What a round asks: to train or validate on this many cases, under a plan that was or was not agreed to."""

    benchmark: str
    cases: int | None
    plan_digest: str
    agreed_digest: str | None
    """Digest of the plan this site said yes to; None where it never did."""

    purpose: str = "research"


@dataclass(frozen=True)
class Asker:
    """Who asks for a study, as the hub says."""

    organisation: str
    person: str


def decide_evaluation(
    policy: Policy, request: EvaluationRequest, history: Mapping[str, Spent] | None = None
) -> Decision:
    """Decide whether an evaluation may run; ``history`` is what each owner has had this month."""
    return _first_no(
        (
            *(_organisation(policy, owner) for owner in request.owners or ("",)),
            _purpose(policy, request.purpose),
            _benchmark(policy, request.benchmark),
            _tiers(policy, request.tiers),
            _containers(policy, request),
            *_budgets(policy, request, history or {}),
            *_cases(policy, request.cases),
        ),
        Decision("allow", None, "benchmarks.allow", "every rule allows it"),
    )


def decide_question(policy: Policy, request: EvaluationRequest) -> Decision:
    """Decide what holds of an evaluation whichever models it asks of: purpose, benchmark, cohort."""
    return _first_no(
        (_purpose(policy, request.purpose), _benchmark(policy, request.benchmark), *_cases(policy, request.cases)),
        Decision("allow", None, "benchmarks.allow", "every rule allows it"),
    )


def decide_models(
    policy: Policy,
    benchmark: str,
    models: Iterable[AskedModel],
    history: Mapping[str, Spent] | None = None,
) -> dict[str, Decision]:
    """Decide about each model by itself, so that one that is refused leaves the others served; by digest.

    A model counts towards its owner's budget once the ones before it have been let in.
    """
    found: dict[str, Decision] = {}
    new: dict[str, int] = {}
    known = history or {}
    for model in models:
        fresh = model.digest not in known.get(model.owner, NOTHING).models
        counted = new.get(model.owner, 0) + fresh
        tiers = () if model.tier is None else (model.tier,)
        digests = (model.digest,) if tiers else ()
        owners, added = (model.owner,), {model.owner: counted if fresh else 0}
        request = EvaluationRequest(benchmark, None, tiers, owners, digests=digests, new=added)
        checks = (
            _organisation(policy, model.owner),
            _tiers(policy, tiers),
            _containers(policy, request),
            *_budgets(policy, request, known),
        )
        found[model.digest] = _first_no(checks, Decision("allow", None, "model_tiers", "every rule allows it"))
        if found[model.digest].code is None:
            new[model.owner] = counted
    return found


def decide_consent(
    policy: Policy,
    plan: StudyPlan,
    training_cases: int | None,
    asker: Asker | None = None,
    outlook: Outlook | None = None,
) -> Decision:
    """Decide whether this site joins a study; ``training_cases`` is None where it has no cohort for the benchmark.

    ``outlook`` is what it would cost the patients' privacy; without it, the study's own epsilon counts alone.
    """
    asked = asker or Asker("", "")
    return _first_no(
        (
            _organisation(policy, asked.organisation),
            _person(policy, asked.person),
            _purpose(policy, plan.purpose),
            _legal_basis(policy, plan.legal_basis),
            _benchmark(policy, plan.benchmark.name),
            _enough(policy, training_cases),
            _rounds(policy, plan),
            _compression(policy, plan),
            _epsilon(policy, plan, outlook),
        ),
        _studies(policy, plan.name),
    )


def decide_round(policy: Policy, request: RoundRequest) -> Decision:
    """Decide whether a round may run: the plan must be, to the byte, the one that was agreed to."""
    agreed = request.agreed_digest is not None and request.agreed_digest == request.plan_digest
    return _first_no(
        (
            Check(
                "consent",
                None if agreed else "policy-study",
                "this site has agreed to this plan" if agreed else "this site has not agreed to this very plan",
            ),
            _purpose(policy, request.purpose),
            _benchmark(policy, request.benchmark),
            *_cases(policy, request.cases),
        ),
        Decision("allow", None, "consent", "the plan is the one this site agreed to"),
    )


def decide_release(policy: Policy, what: Released) -> Decision:
    """Decide whether something that was computed leaves by itself or waits for a person."""
    auto = getattr(policy.release, what) == "auto"
    words = "it leaves by itself" if auto else f"it waits for {policy.release.persons} person(s)"
    return Decision("allow" if auto else "hold", None, f"release.{what}", words, persons=policy.release.persons)


def decide_spending(policy: Policy, owner: str, spent: Spent, bits: float) -> Decision:
    """Decide whether a computed result fits what its owner may still learn this month."""
    check = _bits(policy, owner, spent, bits)
    return _first_no((check,), Decision("allow", None, check.rule, check.words))


def decide_learning(policy: Policy, owner: str, spent: Spent, *, updates: int, bits: float = 0.0) -> Decision:
    """Decide whether a round's report fits what the owner of its study may still learn this month.

    Asked before the round, without bits, and again once they are known.
    """
    after, cap = spent.updates + updates, policy.budget.updates
    words = f"{owner!r} would have had {after} model updates this month, of {cap}"
    checks = (
        Check("budget.updates", "policy-budget" if updates and after > cap else None, words),
        _bits(policy, owner, spent, bits),
    )
    return _first_no(checks, Decision("allow", None, checks[-1].rule, checks[-1].words))


def _first_no(checks: Iterable[Check], otherwise: Decision) -> Decision:
    asked: list[Check] = []
    for check in checks:
        asked.append(check)
        if check.code is not None:
            return Decision("refuse", check.code, check.rule, check.words, tuple(asked))
    asked.append(Check(otherwise.rule, otherwise.code, otherwise.words))
    return replace(otherwise, checks=tuple(asked))


def _listed(rule: str, code: str, what: str, value: str, allowed: tuple[str, ...] | None) -> Check:
    shown = f"{what} {value!r}" if value else f"an unnamed {what}"
    if allowed is None:
        return Check(rule, None, f"any {what} may ask")
    if value in allowed:
        return Check(rule, None, f"{shown} is on the list")
    return Check(rule, code, f"{shown} is not on the list")


def _organisation(policy: Policy, name: str) -> Check:
    allowed = policy.requesters.organisations
    return _listed("requesters.organisations", "policy-requester", "organisation", name, allowed)


def _person(policy: Policy, name: str) -> Check:
    return _listed("requesters.people", "policy-requester", "person", name, policy.requesters.people)


def _purpose(policy: Policy, purpose: str) -> Check:
    return _listed("purposes.allow", "policy-purpose", "purpose", purpose, policy.purposes.allow)


def _legal_basis(policy: Policy, basis: str | None) -> Check:
    allowed = policy.purposes.legal_bases
    return _listed("purposes.legal_bases", "policy-purpose", "legal basis", basis or "", allowed)


def _benchmark(policy: Policy, name: str) -> Check:
    return _listed("benchmarks.allow", "policy-benchmark", "benchmark", name, policy.benchmarks.allow)


def _tiers(policy: Policy, tiers: tuple[int, ...]) -> Check:
    other = sorted(set(tiers) - set(policy.model_tiers))
    if other:
        return Check("model_tiers", "policy-model-tier", f"a model is of tier {other[0]}, which does not run here")
    return Check("model_tiers", None, "every model is of a tier that runs here")


def _containers(policy: Policy, request: EvaluationRequest) -> Check:
    pairs = zip(request.tiers, request.digests, strict=False)
    unknown = [digest for tier, digest in pairs if tier == 3 and digest not in policy.containers]
    if unknown:
        return Check("containers", "policy-model-tier", f"nobody here has let {unknown[0]} in by its digest")
    return Check("containers", None, "no model with code that was not let in by its digest")


def _budgets(policy: Policy, request: EvaluationRequest, history: Mapping[str, Spent]) -> Iterator[Check]:
    for owner in dict.fromkeys(request.owners):
        spent, new = history.get(owner, NOTHING), request.new.get(owner, 0)
        after, cap = spent.submissions + new, policy.budget.submissions
        words = f"{owner!r} would have {after} models evaluated this month, of {cap}"
        yield Check("budget.submissions", "policy-budget" if after > cap and new else None, words)
        yield _bits(policy, owner, spent, 0.0)


def _bits(policy: Policy, owner: str, spent: Spent, bits: float) -> Check:
    after, cap = spent.bits + bits, policy.budget.bits
    words = f"{owner!r} would have learnt {after:.0f} bits this month, of {cap:.0f}"
    return Check("budget.bits", "policy-budget" if after > cap or (not bits and after >= cap) else None, words)


def _epsilon(policy: Policy, plan: StudyPlan, outlook: Outlook | None) -> Check:
    cap = policy.budget.epsilon
    stated = plan.privacy.epsilon if isinstance(plan.privacy, PatientPrivacy) else None
    after = outlook.after if outlook is not None else stated
    if cap is None:
        return Check("budget.epsilon", None, "no privacy loss need be stated")
    if stated is None or after is None:
        words = "the study states no privacy loss of a patient, so his loss has no bound"
        return Check("budget.epsilon", "policy-budget", words)
    words = f"a patient would have lost {after:.3g} of privacy (epsilon), of {cap:g}"
    return Check("budget.epsilon", "privacy-budget" if after > cap else None, words)


def _cases(policy: Policy, cases: int | None) -> Iterator[Check]:
    """Asked after what does not depend on what the site holds."""
    if cases is None:
        yield Check("cohorts", "cohort-unknown", "this site has no such cohort")
        return
    small = cases < policy.minimum_cohort
    words = f"the cohort has {cases} cases, and {policy.minimum_cohort} are the fewest"
    yield Check("minimum_cohort", "policy-minimum-cohort" if small else None, words)


def _enough(policy: Policy, cases: int | None) -> Check:
    """Refuse no cohort and a small one alike: a stranger must not learn that a site has a few cases of something."""
    few = cases is None or cases < policy.minimum_cohort
    words = f"the cohort has {cases or 0} training cases, and {policy.minimum_cohort} are the fewest"
    return Check("minimum_cohort", "policy-minimum-cohort" if few else None, words)


def _rounds(policy: Policy, plan: StudyPlan) -> Check:
    most = policy.studies.maximum_rounds
    code = "policy-study" if plan.rounds > most else None
    return Check("studies.maximum_rounds", code, f"the study has {plan.rounds} rounds, and {most} are the most")


def _compression(policy: Policy, plan: StudyPlan) -> Check:
    """No only to a level this release does not know: what loses less is always agreed on."""
    if isinstance(plan.compression, OtherRelease):
        return Check("studies.lossiest", "compression-unknown", f"level {plan.compression.name} is not known here")
    asked, sent = plan.compression.level, agreed_level(policy, plan).level
    words = f"updates are sent at level {sent}" + ("" if sent == asked else f", where the plan asks for {asked}")
    return Check("studies.lossiest", None, words)


def offered_levels(policy: Policy) -> tuple[LevelName, ...]:
    """Return the compression levels this site can and will send updates at."""
    return levels_up_to(policy.studies.lossiest)


def agreed_level(policy: Policy, plan: StudyPlan, told: str | None = None) -> Known:
    """Return the level an update leaves at: what the hub told, as far as it loses no more than plan and policy allow.

    The policy is read at each round, so a stricter one holds from the next round on. Raises :class:`WireError`
    ``compression-unknown`` where the hub names a level of another release.
    """
    asked = agreed(plan.compression, offered_levels(policy))
    if told is None or not loses_more(asked.level, told):
        return asked
    return at_level(agreed(plan.compression, None), told)


def _studies(policy: Policy, name: str) -> Decision:
    if name in policy.studies.allow:
        return Decision("allow", None, "studies.allow", f"study {name!r} is on the list")
    others: dict[str, Decision] = {
        "auto": Decision("allow", None, "studies.others", "studies that are not on the list are said yes to"),
        "hold": Decision(
            "hold",
            None,
            "studies.others",
            "a person answers studies that are not on the list",
            persons=policy.release.persons,
        ),
        "refuse": Decision("refuse", "policy-study", "studies.others", f"study {name!r} is not on the list"),
    }
    return others[policy.studies.others]
