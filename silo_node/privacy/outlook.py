"""What a study would cost the patients of a cohort: plain values, for the decision and for the person who decides."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outlook:
    """A cohort's account before an answer is given. Epsilons are at ``delta``."""

    cohort: str
    patients: int
    delta: float
    before: float
    """Of all answers with noise so far, and of what is promised to studies that were agreed to."""

    after: float | None
    """The same with this study; None where the study promises patients nothing."""

    without_noise: int
    """Earlier answers about the same patients that no bound holds for."""
