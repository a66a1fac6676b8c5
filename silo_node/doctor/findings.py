"""What a check finds."""

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["well", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """What one check found; ``remedy`` says what to do where it is not well."""

    code: str
    verdict: Verdict
    text: str
    remedy: str | None = None
