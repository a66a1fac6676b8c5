"""Codes and names in plain words, for pages. A code that is not known here is shown as it is, never guessed."""

from datetime import datetime

from silo_node.web.formats import metric_name
from silo_node.wire.benchmarks import METRICS, Direction
from silo_node.wire.errors import PROBLEMS

METRIC_MEANINGS = {
    "auroc": "how well the model's scores put diseased cases above the others; 0.5 is chance, 1 is perfect",
    "auprc": "precision averaged over recall; chance is the share of positive cases",
    "balanced_accuracy": "the mean of sensitivity and specificity at the declared threshold",
    "brier": "the mean squared distance of predicted probabilities from what was true; 0 is perfect",
    "ece": "how far predicted probabilities are from the observed shares; 0 is perfect",
    "dice": "overlap of the drawn and the true structure; 1 is perfect",
    "nsd": "the share of the surface within the declared tolerance; 1 is perfect",
    "hd95": "the distance within which 95% of the surface lies, in millimetres; 0 is perfect",
}
METRIC_BOUNDS: dict[str, tuple[float, float | None]] = dict.fromkeys(METRICS, (0.0, 1.0)) | {"hd95": (0.0, None)}

STATES = {
    "abandoned": "abandoned: the quorum was missed",
    "collecting": "waiting for updates",
    "open": "open",
    "aggregating": "folding the updates",
    "committed": "committed",
    "revoked": "rolled back: sites vetoed its model",
    "folded": "counted",
    "late": "came too late, not counted",
    "verified": "checked, waiting to be folded",
    "rejected": "refused",
    "receiving": "being sent",
    "expected": "not yet here",
}

RULES = {
    "site_equal": "Every hospital the same (this board)",
    "case_weighted": "Every case the same",
    "mean_of_ranks": "Mean of the ranks at each hospital",
}
NOTES = {
    "too-few-sites": "Some models are listed without numbers: too few hospitals have reported them.",
    "missing-cells": "Not every hospital has reported every model. Pairs are compared on the hospitals they share; "
    "nothing is filled in.",
    "some-sites-not-compared": "P(best) and drawn ranks use only hospitals that reported all models ranked together.",
    "covariance-between-blocks-unknown": "Some models were reported in separate runs at a hospital; their "
    "differences are shown less certain than they are.",
    "not-estimable": "With fewer than three hospitals an interval is about these hospitals only, not about new ones.",
}

CELLS = {
    "released": "released",
    "undefined": "released, without a value",
    "disputed": "disputed",
    "withdrawn": "withdrawn",
    "waiting": "waiting for the hospital",
    "running": "running",
    "held": "done; a person there has to release it",
    "declined": "declined",
    "refused": "refused",
    "missing": "not asked",
}
"""Where a model stands at a hospital."""


def cell(name: str) -> str:
    """Return where a model stands at a hospital in words."""
    return CELLS.get(name, name)


def direction(name: str) -> Direction:
    """Return in which direction a metric is better."""
    return METRICS[name][1] if name in METRICS else "higher"


def arrow(name: str) -> str:
    """Return the arrow of a metric's better direction."""
    return "↑" if direction(name) == "higher" else "↓"


def rule_name(rule: str) -> str:
    """Return a rule of ranking in words; a metric's name stands for ranking by that metric."""
    return RULES.get(rule) or metric_name(rule)


def note(code: str) -> str:
    """Return what a board's note tells its readers."""
    return NOTES.get(code, code.replace("-", " "))


def reason(code: str | None) -> str:
    """Return a coded reason as a sentence fragment: the registry's title, first letter lowered."""
    if code is None:
        return "no reason given"
    if code not in PROBLEMS:
        return code.replace("-", " ")
    title = PROBLEMS[code].title
    return title if title[1:2].isupper() else title[0].lower() + title[1:]


def state(name: str) -> str:
    """Return a state of a machine in words."""
    return STATES.get(name, name.replace("-", " "))


def band(name: str) -> str:
    """Return a band of counts in words: ``100 to 249`` of ``100-249``."""
    low, hyphen, high = name.partition("-")
    return f"{low} to {high}" if hyphen and high.isdecimal() else name.replace("-", " ")


def plural(count: int, noun: str, plural_noun: str | None = None) -> str:
    """Return ``1 site`` or ``3 sites``."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def xml_text(text: str) -> str:
    """Return a text without the characters XML 1.0 cannot hold at all, not even escaped."""
    return "".join(char for char in text if char in "\t\n\r" or " " <= char not in "\ufffe\uffff")


def timestamp(moment: datetime) -> str:
    """Return a moment as RFC 3339 has it, in UTC."""
    return f"{moment:%Y-%m-%dT%H:%M:%S}Z"


def joined(names: list[str] | tuple[str, ...]) -> str:
    """Return names as a list in a sentence: ``A``, ``A and B``, ``A, B and C``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""


_ADMIN = frozenset({"hub-admin"})
ACCOUNT_SECTIONS: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("/dashboard", "Dashboard", frozenset()),
    ("/account", "Account", frozenset()),
    ("/account/tokens", "Tokens", frozenset()),
    ("/account/models", "Your models", frozenset({"researcher"})),
    ("/submit", "Submit a model", frozenset({"researcher"})),
    ("/account/benchmarks", "Your benchmarks", _ADMIN | {"benchmark-owner"}),
    ("/admin/people", "People", _ADMIN),
    ("/admin/silos", "Silos", _ADMIN),
    ("/audit", "Audit trail", _ADMIN | {"data-steward"}),
)
"""The pages behind the door: address, name, and which roles see them (none: everybody who is signed in)."""
