"""The claim sheet of a study: what its differential privacy is worth, in the terms of NIST SP 800-226.

It follows from the plan alone, so the hub, a silo and an outsider who holds the plan write the same sheet.
"""

from math import exp
from typing import Annotated, Literal

from pydantic import Field

from silo_node.wire.base import Digest, Message, Name, Title
from silo_node.wire.canonical import message_digest
from silo_node.wire.privacy import PatientPrivacy, SiloPrivacy
from silo_node.wire.studies import StudyPlan

Sentence = Annotated[str, Field(max_length=1000)]
FALSE_ALARMS = 0.01


class Claim(Message):
    """One term, and what holds of it in this study."""

    term: Title
    statement: Sentence


class ClaimSheet(Message):
    """What is promised to whom, under which assumptions, and what is not promised."""

    study: Name
    plan_digest: Digest
    unit: Literal["patient", "silo", "none"]
    epsilon: float | None
    delta: float | None
    most_found: float | None
    """The largest share of members an attacker finds who accuses one non-member in a hundred."""

    claims: tuple[Claim, ...]
    not_covered: tuple[Sentence, ...]


def claim_sheet(plan: StudyPlan) -> ClaimSheet:
    """Return the claim sheet of a study."""
    promise = plan.privacy
    open_ends: tuple[str, ...] = _NONE_OPEN
    if isinstance(promise, PatientPrivacy):
        claims, open_ends = _patient_claims(plan, promise), _PATIENT_OPEN
    elif isinstance(promise, SiloPrivacy):
        claims, open_ends = _silo_claims(plan, promise), _SILO_OPEN
    else:
        claims = (("Guarantee", "None. The study makes no claim of differential privacy."),)
    return ClaimSheet(
        study=plan.name,
        plan_digest=message_digest(plan),
        unit=promise.unit if promise else "none",
        epsilon=promise.epsilon if promise else None,
        delta=promise.delta if promise else None,
        most_found=found_at_most(promise.epsilon, promise.delta) if promise else None,
        claims=tuple(Claim(term=term, statement=statement) for term, statement in claims),
        not_covered=open_ends,
    )


def found_at_most(epsilon: float, delta: float, false_alarms: float = FALSE_ALARMS) -> float:
    """Return the largest true-positive rate of any membership attack at a false-positive rate.

    Kairouz, Oh and Viswanath 2015: both ``tpr <= e^epsilon * fpr + delta`` and the same for the complements.
    """
    first = exp(min(epsilon, 700.0)) * false_alarms + delta
    second = 1 - exp(-epsilon) * (1 - false_alarms - delta)
    return round(min(first, second, 1.0), 4)


def _patient_claims(plan: StudyPlan, promise: PatientPrivacy) -> tuple[tuple[str, str], ...]:
    rounds = plan.rounds + promise.spare_rounds
    return (
        ("Unit of privacy", "One patient: all of his images at a silo count as one."),
        (
            "Neighbouring data sets",
            "Two training sets of a silo that differ by one patient, who is in one and not in the other (add or remove "
            "one). The number of patients of a silo is taken as known.",
        ),
        *_strength(promise.epsilon, promise.delta),
        (
            "Mechanism",
            "DP-SGD: in each step every patient is drawn by himself (Poisson sampling), the mean gradient of at most "
            f"{promise.images_per_patient} of his images is clipped to {_norm(promise)}, and Gaussian noise is added.",
        ),
        (
            "Composition",
            f"Over all steps of {rounds} rounds, {promise.spare_rounds} of them spare, by privacy loss distributions "
            "(dp-accounting). Each silo derives its noise from its own number of patients, so every patient has the "
            "same promise; patients of different silos compose in parallel. A silo's ledger adds up over studies.",
        ),
        (
            "Trust model",
            "Central at each silo: the hospital that holds the images draws the noise. The hub, the other silos and "
            "whoever gets a model need not be trusted.",
        ),
        (
            "Randomness",
            "AES-256 in counter mode, keyed by the silo's operating system; each noise value is a sum of four.",
        ),
        ("What is released", "The change of the model's weights of each round, and everything computed from it."),
    )


def _silo_claims(plan: StudyPlan, promise: SiloPrivacy) -> tuple[tuple[str, str], ...]:
    rounds = plan.rounds + promise.spare_rounds
    return (
        ("Unit of privacy", "One silo: everything it holds."),
        (
            "Neighbouring data sets",
            "Two studies in which one silo's updates are what it sent, or nought. Who takes part in a round is public.",
        ),
        *_strength(promise.epsilon, promise.delta),
        (
            "Mechanism",
            f"Each update is clipped to {_norm(promise)}, all count the same, and Gaussian noise is added to the sum.",
        ),
        (
            "Composition",
            f"Over the noisy means of {rounds} rounds, {promise.spare_rounds} of them spare, without any gain from "
            "sampling, by privacy loss distributions (dp-accounting). The hub counts each before its noise is drawn.",
        ),
        ("Trust model", "Central at the hub: it sees every update without noise and must be trusted to add it."),
        (
            "Randomness",
            "AES-256 in counter mode, keyed by the hub's operating system; each noise value is a sum of four.",
        ),
        ("What is released", "The global model of each round, and everything computed from it."),
    )


def _norm(promise: PatientPrivacy | SiloPrivacy) -> str:
    if promise.clipping_quantile is None:
        return f"an L2 norm of {promise.clipping_norm:g}"
    return (
        f"an L2 norm that begins at {promise.clipping_norm:g} and follows the {promise.clipping_quantile:g} quantile, "
        "at the same cost"
    )


def _strength(epsilon: float, delta: float) -> tuple[tuple[str, str], ...]:
    return (
        ("Epsilon and delta", f"epsilon {epsilon:g}, delta {delta:g}, over the whole study."),
        (
            "In plain words",
            f"Whatever somebody sees, the odds that a unit took part change by a factor of at most {_factor(epsilon)}, "
            f"but for a chance of {delta:g}. Who accuses one in a hundred of those who did not take part finds at most "
            f"{found_at_most(epsilon, delta):.1%} of those who did.",
        ),
    )


def _factor(epsilon: float) -> str:
    factor = exp(epsilon)
    return f"{factor:,.3g}" if factor < 1000 else f"{factor:,.0f}" if epsilon < 20 else f"e to the {epsilon:g}"


_GENERAL = (
    "What the model says about people in general, also of one who took no part.",
    "Images that are stolen, or people who misuse their access at a hospital.",
    "Errors of this software, of the processor and of the random numbers; times and sizes seen from outside.",
)
_PATIENT_OPEN = (
    "Validation and test patients: scores on them are rounded and have no noise.",
    "A patient with images at several silos: his losses add up over them.",
    "That a silo takes part, and how many training cases it has registered.",
    *_GENERAL,
)
_SILO_OPEN = (
    "The hub itself, and whoever gets into it while a round is open.",
    "Scores at the silos, which have no noise, and that a silo takes part.",
    "A single patient in particular: he is covered as a part of his silo, and with its epsilon.",
    *_GENERAL,
)
_NONE_OPEN = ("Whoever sees an update or a model may learn something about a patient it was trained on.", *_GENERAL)
