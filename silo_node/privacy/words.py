"""The ledger in words, for the steward who agrees and for whoever looks later."""

from math import isinf

from pipelines.privacy.accounting import Mechanism
from silo_node.privacy.outlook import Outlook


def epsilon_words(value: float) -> str:
    """Return an epsilon with three digits, rounded up in the last one shown by its nature: the book rounds up."""
    return "no bound" if isinf(value) else f"{value:.3g}"


def mechanism_words(mechanism: Mechanism) -> str:
    """Return what was told, in one phrase."""
    if mechanism.kind == "none":
        return "without noise" if mechanism.steps else "ended"
    if mechanism.kind == "laplace":
        return f"{mechanism.steps} noisy answers, Laplace noise of scale {mechanism.noise:.3g}"
    drawn = f", each patient in {mechanism.rate:.1%} of them" if mechanism.rate < 1 else ""
    return f"{mechanism.steps} noisy steps, noise multiplier {mechanism.noise:.3g}{drawn}"


def outlook_words(outlook: Outlook) -> tuple[tuple[str, str], ...]:
    """Return labels and sentences for the person who decides about a study."""
    spent = f"epsilon {epsilon_words(outlook.before)} at delta {outlook.delta:g}"
    if outlook.after is None:
        after = "no bound: this study promises patients nothing in numbers"
    else:
        after = f"epsilon {epsilon_words(outlook.after)} at delta {outlook.delta:g}"
    bare = outlook.without_noise
    before = f"{spent}, over {outlook.patients} training patients"
    if bare:
        before += f"; besides, {bare} {'answer' if bare == 1 else 'answers'} without noise, for which no bound holds"
    return (("Privacy spent or promised so far", before), ("With this study", after))
