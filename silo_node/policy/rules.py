"""The policy file ``policy.toml``: its schema, its careful defaults, and the one edit that commands make to it.

Without a file nothing is joined, nothing runs, and everything that would leave waits for a person.
"""

import json
import re
import tomllib
from typing import Annotated, Any, Literal

from pydantic import Field

from silo_node.config import Settings, read_settings
from silo_node.deidentify.pixel_risk import Risk
from silo_node.state import Home, write_private
from silo_node.wire.base import Name
from silo_node.wire.cohorts import Publication
from silo_node.wire.errors import ConfigError

Release = Literal["hold", "auto"]
"""``hold``: a person releases each one (``silo-node outbox``); ``auto``: the gate lets it pass."""


class BenchmarkRules(Settings):
    """Which benchmarks this site takes part in."""

    allow: tuple[Name, ...] = ()
    """Benchmarks, by name; ``silo-node benchmark join`` and ``leave`` edit the list."""


class StudyRules(Settings):
    """Which federated studies this site takes part in. A study's benchmark must be allowed as well."""

    allow: tuple[Name, ...] = ()
    """Studies, by the name in their plan, that are said yes to without asking a person."""

    others: Literal["refuse", "hold", "auto"] = "hold"
    """What happens to any other: a coded no, a question to a person, or yes."""

    maximum_rounds: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """A study with more rounds is refused."""


class ReleaseRules(Settings):
    """What leaves by itself and what a person lets go."""

    registrations: Release = "hold"
    """A cohort's fingerprint and card."""

    results: Release = "hold"
    """The estimate block of an evaluation."""

    updates: Release = "hold"
    """A round's model update and validation score."""


class IntakeRules(Settings):
    """Which images are taken in although their pixels may show who the patient is."""

    allow_pixel_risks: tuple[Risk, ...] = ()
    """Coded reasons a person of this site has looked at and lets through."""


class Policy(Settings):
    """All rules of a site."""

    minimum_cohort: Annotated[int, Field(ge=1, le=10**6)] = 20
    """Fewest cases a model may be evaluated or trained on here."""

    model_tiers: tuple[Annotated[int, Field(ge=1, le=3)], ...] = (1,)
    """1: code-free bundles; 2: ONNX; 3: anything with code. This release runs tier 1 only."""

    publication: Publication = "withheld"
    """How leaderboards show this site's own values; registering a cohort tells the hub."""

    benchmarks: BenchmarkRules = BenchmarkRules()
    studies: StudyRules = StudyRules()
    release: ReleaseRules = ReleaseRules()
    intake: IntakeRules = IntakeRules()


TEMPLATE = """\
# What this site takes part in, and what may leave it. Read again at every decision.
minimum_cohort = 20
model_tiers = [1]
publication = "withheld" # withheld | pseudonym | named: how leaderboards show this site's own values

[benchmarks]
allow = []

[studies]
allow = []
others = "hold"          # refuse | hold | auto

[release]                # hold: a person releases each one; auto: it leaves by itself
registrations = "hold"
results = "hold"
updates = "hold"
"""


def load_policy(home: Home) -> Policy:
    """Read the policy as it stands now; a missing file is the careful defaults.

    Raises :class:`ConfigError`: ``config-unknown-key`` with a suggestion, or ``policy-invalid``.
    """
    return read_settings(home.policy_file, Policy, ConfigError, "policy-invalid")


def allow_benchmark(home: Home, name: str) -> Policy:
    """Add a benchmark to ``benchmarks.allow`` and return the new policy; the file's other lines stay as they are."""
    allowed = load_policy(home).benchmarks.allow
    return _rewrite(home, tuple(dict.fromkeys([*allowed, name])))


def drop_benchmark(home: Home, name: str) -> Policy:
    """Take a benchmark out of ``benchmarks.allow`` and return the new policy."""
    allowed = load_policy(home).benchmarks.allow
    return _rewrite(home, tuple(other for other in allowed if other != name))


def _rewrite(home: Home, allowed: tuple[str, ...]) -> Policy:
    text = home.policy_file.read_text("utf-8") if home.policy_file.exists() else TEMPLATE
    line = f"allow = {json.dumps(list(allowed))}"
    changed, count = re.subn(r"(?ms)(^\[benchmarks\][^\[]*?^)allow\s*=\s*\[[^\]]*\]", rf"\g<1>{line}", text, count=1)
    if not count and re.search(r"(?m)^\[benchmarks\]", text):
        changed = re.sub(r"(?m)^\[benchmarks\].*$", rf"\g<0>\n{line}", text, count=1)
    elif not count:
        changed = f"{text.rstrip()}\n\n[benchmarks]\n{line}\n"
    # The edit is by pattern, so it is checked by reading: every other rule must say what it said.
    expected = tomllib.loads(text)
    expected.setdefault("benchmarks", {})["allow"] = list(allowed)
    if expected != _parsed(changed):
        raise ConfigError("policy-invalid", "edit benchmarks.allow by hand; its layout was not understood")
    write_private(home.policy_file, changed.encode())
    return load_policy(home)


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
