"""The site's policy in sentences, rule by rule. A rule without a sentence here is shown as it stands in the file."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from silo_node.policy import Policy

_TIERS = {1: "models without code", 2: "ONNX graphs", 3: "models that contain code"}
_RELEASE = {"hold": "A person of this site releases each one.", "auto": "It leaves by itself, and is in the log."}


@dataclass(frozen=True)
class Rule:
    """One rule: its name in ``policy.toml``, its value there, and what it means."""

    name: str
    value: str
    sentence: str


def rules(policy: Policy) -> list[Rule]:
    """Return every rule of a policy, also those nobody wrote."""
    return [Rule(name, _text(value), _sentence(name, value)) for name, value in _leaves(policy.model_dump(mode="json"))]


def _leaves(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, inner in value.items():
        found += _leaves(inner, f"{prefix}{name}.") if isinstance(inner, dict) else [(prefix + name, inner)]
    return found


def _sentence(name: str, value: Any) -> str:
    told = _SENTENCES.get(name)
    return told(value) if told else ""


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(entry) for entry in value) or "none"
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _stricter(value: int, loosest: int, words: str) -> str:
    return "The benchmark's own limit counts; this site adds none." if value == loosest else words


def _anybody(names: list[str] | None, who: str) -> str:
    if names is None:
        return f"Any {who} that the hub knows may ask."
    return _names(names, f"Only requests of this {who} are looked at", f"No {who}'s request is looked at.")


def _names(value: list[str], one: str, none: str) -> str:
    return f"{one}: {', '.join(value)}." if value else none


_SENTENCES: dict[str, Callable[[Any], str]] = {
    "containers": lambda digests: (
        f"{len(digests)} models with code may run in the jail, each by its digest."
        if digests
        else "No model that contains code runs."
    ),
    "requesters.organisations": lambda names: _anybody(names, "organisation"),
    "requesters.people": lambda names: _anybody(names, "person"),
    "purposes.allow": lambda names: _names(names, "Requests are let in for", "No request is let in, for any purpose."),
    "purposes.legal_bases": lambda names: (
        "A study need not name its legal basis."
        if names is None
        else _names(names, "A study must name its legal basis, one of", "No legal basis is accepted.")
    ),
    "release.persons": lambda n: (
        "Two different persons must release each thing that waits."
        if n > 1
        else "One person's release is enough for a thing that waits."
    ),
    "disclosure.minimum_class": lambda n: _stricter(n, 1, f"No class with fewer than {n} patients is told."),
    "disclosure.minimum_cell": lambda n: _stricter(n, 1, f"No count under {n} is told."),
    "disclosure.decimals": lambda n: _stricter(n, 6, f"Released numbers have {n} decimals at most."),
    "budget.submissions": lambda n: f"At most {n} models of one owner are run in a month.",
    "budget.bits": lambda n: f"Results of one owner's models and studies tell at most {n:,.0f} bits a month.",
    "budget.updates": lambda n: f"At most {n:,} model updates leave for one owner's studies in a month.",
    "budget.epsilon": lambda n: (
        "There is no budget of differential privacy."
        if n is None
        else f"A patient's loss of privacy over all studies and statistics is at most {n:g} (epsilon), for ever."
    ),
    "budget.delta": lambda n: f"Privacy losses are added up at a delta of {n:g}.",
    "resources.quiet_hours": lambda spans: _names(spans, "No work is begun at", "Work may begin at any time of day."),
    "resources.threads": lambda n: (
        "Work may use as many processors as the configuration says."
        if n is None
        else f"Work uses at most {n} processors."
    ),
    "resources.memory_mb": lambda n: (
        "Work may use as much memory as the configuration says."
        if n is None
        else f"Work uses at most {n} MB of memory."
    ),
    "resources.gpu_share": lambda n: "Work gets no GPU." if not n else f"Work may use {100 * n:.0f}% of a GPU's time.",
    "resources.disk_quota_mb": lambda n: f"Work takes at most {n} MB on the disk.",
    "minimum_cohort": lambda n: f"No model is evaluated or trained on fewer than {n} cases.",
    "model_tiers": lambda tiers: f"This site runs {', '.join(_TIERS.get(tier, str(tier)) for tier in tiers)}.",
    "publication": lambda kind: {
        "withheld": "Boards never show this site's own values.",
        "pseudonym": "Boards show this site's values under a letter.",
        "named": "Boards show this site's values under the hospital's name.",
    }[kind],
    "benchmarks.allow": lambda names: _names(
        names, "This site takes part in", "This site takes part in no benchmark: every evaluation is refused."
    ),
    "studies.allow": lambda names: _names(
        names, "Said yes to without asking anybody", "No study is said yes to without asking."
    ),
    "studies.others": lambda kind: {
        "refuse": "Any other study is refused.",
        "hold": "Any other study waits for a person's yes or no.",
        "auto": "Any other study is said yes to.",
    }[kind],
    "studies.maximum_rounds": lambda n: f"A study of more than {n} rounds is refused.",
    "studies.lossiest": lambda level: (
        "Updates leave without loss, whatever a plan asks for."
        if level == "lossless"
        else f"Updates are compressed as a plan asks, and lose at most what level {level} loses."
    ),
    "release.registrations": lambda kind: f"Telling the hub of a cohort: {_lowered(_RELEASE[kind])}",
    "release.results": lambda kind: f"Results of an evaluation: {_lowered(_RELEASE[kind])}",
    "release.updates": lambda kind: f"Updates and scores of a study's rounds: {_lowered(_RELEASE[kind])}",
    "intake.allow_pixel_risks": lambda names: _names(
        names,
        "Images are taken in although",
        "No image is taken in whose pixels may show who the patient is.",
    ),
}


def _lowered(text: str) -> str:
    return text[0].lower() + text[1:]
