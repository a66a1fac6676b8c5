"""The account of a cohort's patients: what is spent, what is promised to studies under way, and what one more costs.

Asked before a study is agreed to, and before each of its rounds; the round is booked in the same transaction.
"""

from pipelines.job import LocalPrivacy
from pipelines.privacy.accounting import Mechanism, noise_for
from silo_node.agent.holdings import Holding
from silo_node.cohorts.manifest import Manifest, read_manifest
from silo_node.cohorts.registry import registered_cohort
from silo_node.journal import Journal
from silo_node.policy.schema import Policy
from silo_node.privacy.ledger import PrivacyLedger
from silo_node.privacy.outlook import Outlook
from silo_node.privacy.standing import Standing
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.cohorts import AssociationDecision
from silo_node.wire.envelope import Envelope
from silo_node.wire.errors import MedSiloError, PolicyRefusal
from silo_node.wire.privacy import PatientPrivacy, patient_steps
from silo_node.wire.studies import RoundTask, StudyConsentRequest, StudyPlan

WITHOUT_NOISE = Mechanism("none")
_AGREED = ("released", "sent", "acknowledged")


def training_patients(manifest: Manifest) -> frozenset[str]:
    """Return the patients a study trains on."""
    return frozenset(case.patient for case in manifest.cases if case.split == "train")


def study_mechanism(plan: StudyPlan, patients: int) -> Mechanism:
    """Return all the noisy steps a plan means at a silo with so many training patients, or one answer without noise.

    Raises :class:`MedSiloError` ``privacy-unavailable`` where the accountant is not installed.
    """
    if not isinstance(plan.privacy, PatientPrivacy):
        return WITHOUT_NOISE
    steps = patient_steps(plan, patients)
    try:
        noise = noise_for(plan.privacy.epsilon, plan.privacy.delta, rate=steps.rate, steps=steps.planned)
    except ImportError:
        raise MedSiloError("privacy-unavailable") from None
    except ValueError:
        raise MedSiloError("privacy-budget", "no noise is enough for so small an epsilon") from None
    return Mechanism("gaussian", noise, steps.rate, steps.planned)


def local_privacy(plan: StudyPlan, patients: int) -> LocalPrivacy | None:
    """Return what the jailed training is told of its noise; None for a study without."""
    if not isinstance(plan.privacy, PatientPrivacy):
        return None
    whole = study_mechanism(plan, patients)
    return LocalPrivacy(
        noise_multiplier=whole.noise,
        rate=whole.rate,
        steps=patient_steps(plan, patients).a_round,
        clipping_norm=plan.privacy.clipping_norm,
        clipping_quantile=plan.privacy.clipping_quantile,
        images_per_patient=plan.privacy.images_per_patient,
    )


class PrivacyAccount:
    """The accounts of one node's cohorts."""

    def __init__(self, home: Home, journal: Journal) -> None:
        self._home, self._journal, self._ledger = home, journal, PrivacyLedger(journal)

    def outlook(self, plan: StudyPlan, policy: Policy, study: str = "") -> Outlook | None:
        """Return what joining a study would cost; None where this site has no registered cohort for it."""
        found = _registered(self._home, plan.benchmark)
        if found is None or not (patients := training_patients(found)):
            return None
        delta, spent = policy.budget.delta, self._ledger.spent(patients)
        promised = self._promised(patients, besides=study)
        own = study_mechanism(plan, len(patients))
        after = None if own == WITHOUT_NOISE else spent.epsilon(delta, *promised, own)
        before = spent.epsilon(delta, *promised)
        return Outlook(found.cohort_id, len(patients), delta, before, after, spent.without_noise)

    def standings(self, delta: float, cohort: str | None = None) -> list[Standing]:
        """Return what is spent and promised, for every part of every cohort of which anything was told, or of one.

        With a cohort, also for its training patients: they may have been told of through another one. Raises
        :class:`MedSiloError` ``privacy-unavailable`` where the accountant is needed and not installed.
        """
        parts = {key: theirs for key, theirs in self._ledger.parts().items() if cohort in (None, key[0])}
        if cohort is not None and (cohort, "train") not in parts:
            parts[cohort, "train"] = _training_patients_of(self._home, cohort)
        try:
            return [self._standing(name, part, theirs, delta) for (name, part), theirs in parts.items() if theirs]
        except ImportError:
            raise MedSiloError("privacy-unavailable") from None

    def _standing(self, cohort: str, part: str, patients: frozenset[str], delta: float) -> Standing:
        spent, promised = self._ledger.spent(patients), self._promised(patients, besides="")
        own, whole = spent.epsilon(delta), spent.epsilon(delta, *promised)
        return Standing(cohort, part, len(patients), own, whole, spent.without_noise)

    def book_round(self, body: RoundTask, holding: Holding, policy: Policy) -> None:
        """Book a round's steps before any of them is made.

        Raises :class:`PolicyRefusal` ``privacy-spent`` where the study has had the steps its promise was made for,
        ``privacy-budget`` where the patients' loss would go over the site's budget.
        """
        patients = training_patients(holding.manifest)
        whole = study_mechanism(body.plan, len(patients))
        with self._journal.writing() as connection:
            spending = self._next_round(body, policy, patients, whole)
            self._ledger.write(connection, holding.cohort_id, "train", patients, "round", body.study_id, spending)

    def _next_round(self, body: RoundTask, policy: Policy, patients: frozenset[str], whole: Mechanism) -> Mechanism:
        budget = policy.budget
        if whole == WITHOUT_NOISE:
            if budget.epsilon is not None:
                raise PolicyRefusal("privacy-budget", "the study adds no noise, so its loss has no bound")
            return WITHOUT_NOISE
        steps = patient_steps(body.plan, len(patients)).a_round
        if self._ledger.steps_of(body.study_id) + steps > whole.steps:
            raise PolicyRefusal("privacy-spent", f"{whole.steps} steps were planned")
        spending = Mechanism("gaussian", whole.noise, whole.rate, steps)
        self._within(budget.epsilon, budget.delta, patients, body.study_id, spending)
        return spending

    def _within(
        self, budget: float | None, delta: float, patients: frozenset[str], study: str, more: Mechanism
    ) -> None:
        if budget is None:
            return
        after = self._ledger.spent(patients).epsilon(delta, *self._promised(patients, besides=study), more)
        if after > budget:
            raise PolicyRefusal("privacy-budget", f"epsilon would be {after:.3g}, of {budget:g}")

    def _promised(self, patients: frozenset[str], *, besides: str) -> list[Mechanism]:
        """Return the steps that studies agreed to have not yet made, where they train on any of these patients."""
        closed = self._ledger.closed()
        found = []
        for study, plan in self._agreed():
            if study == besides or study in closed or not isinstance(plan.privacy, PatientPrivacy):
                continue
            manifest = _registered(self._home, plan.benchmark)
            theirs = training_patients(manifest) if manifest else frozenset()
            if theirs & patients:
                whole = study_mechanism(plan, len(theirs))
                left = max(whole.steps - self._ledger.steps_of(study), 0)
                found.append(Mechanism(whole.kind, whole.noise, whole.rate, left))
        return [one for one in found if one.steps]

    def _agreed(self) -> list[tuple[str, StudyPlan]]:
        rows = self._journal.rows(
            "SELECT study_id, request, message FROM consent JOIN outbox ON outbox.subject = consent.association_id"
            " WHERE outbox.kind = 'association-decision' AND outbox.state IN (?,?,?)",
            _AGREED,
        )
        return [
            (row["study_id"], StudyConsentRequest.model_validate_json(row["request"]).plan)
            for row in rows
            if _said_yes(row["message"])
        ]


def _said_yes(message: str) -> bool:
    """Return whether a decision of this site's own outbox, signed when it was put there, is a yes."""
    payload = Envelope.model_validate_json(message).payload_bytes()
    return AssociationDecision.model_validate_json(payload).approve


def _registered(home: Home, benchmark: BenchmarkReference) -> Manifest | None:
    row = registered_cohort(home, benchmark.name, benchmark.version)
    if row is None or row.definition != benchmark.digest:
        return None
    return read_manifest(home.cohort(row.cohort_id))


def _training_patients_of(home: Home, cohort: str) -> frozenset[str]:
    try:
        return training_patients(read_manifest(home.cohort(cohort)))
    except MedSiloError:
        return frozenset()
