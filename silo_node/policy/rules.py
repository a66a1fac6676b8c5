"""The policy file ``policy.toml``: read as it stands at each decision, and the one edit that commands make to it.

Without a file nothing is joined, nothing runs, and everything that would leave waits for a person.
"""

import json
import re
import tomllib
from typing import Any

from silo_node.config import read_settings
from silo_node.policy.schema import Policy
from silo_node.state import Home, write_private
from silo_node.wire.errors import ConfigError

TEMPLATE = """\
# What this site takes part in, and what may leave it. Read again at every decision.
# silo-node policy explain says which rule decides; every rule is in docs/reference/settings.md.
minimum_cohort = 20
model_tiers = [1]        # 1: code-free bundles; 2: ONNX; 3: with code, only what containers names
publication = "withheld" # withheld | pseudonym | named: how leaderboards show this site's own values

[benchmarks]
allow = []

[requesters]             # absent: everybody may ask; a list: only these
# organisations = ["Example University"]

[studies]
allow = []
others = "hold"          # refuse | hold | auto

[release]                # hold: a person releases each one; auto: it leaves by itself
registrations = "hold"
results = "hold"
updates = "hold"
persons = 1              # 2: two different persons

[budget]                 # of each organisation and month
submissions = 100
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
