"""The ledger in words, for the steward who agrees and for whoever looks later."""

from collections.abc import Sequence
from math import isinf

from pipelines.privacy.accounting import Mechanism
from silo_node.policy.schema import BudgetRules
from silo_node.privacy.ledger import Entry
from silo_node.privacy.outlook import Outlook
from silo_node.privacy.standing import Standing

ACCOUNT_HEADINGS = ("cohort", "part", "patients", "epsilon", "with what is promised", "left", "answers without noise")
LINE_HEADINGS = ("line", "time", "cohort", "part", "about", "what")


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


def budget_words(budget: BudgetRules) -> str:
    """Return what this site allows any patient to lose."""
    cap = "no budget" if budget.epsilon is None else f"a budget of {budget.epsilon:g}"
    return f"{cap}, at delta {budget.delta:g}"


def left_words(budget: BudgetRules, standing: Standing) -> str:
    """Return what is left of the budget, by plain subtraction: losses add up to less than their sum."""
    if budget.epsilon is None:
        return "no budget"
    return f"{max(budget.epsilon - standing.promised, 0.0):.3g}"


def account_rows(budget: BudgetRules, standings: Sequence[Standing]) -> list[tuple[object, ...]]:
    """Return a row for each part of a cohort, under :data:`ACCOUNT_HEADINGS`."""
    return [
        (
            one.cohort,
            one.part,
            one.patients,
            epsilon_words(one.epsilon),
            epsilon_words(one.promised),
            left_words(budget, one),
            one.without_noise,
        )
        for one in standings
    ]


def line_rows(entries: Sequence[Entry]) -> list[tuple[object, ...]]:
    """Return a row for each line of the ledger, under :data:`LINE_HEADINGS`."""
    return [(e.number, e.created, e.cohort or None, e.part, e.subject, mechanism_words(e.mechanism)) for e in entries]


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
