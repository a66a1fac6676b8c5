"""What the patients of each part of a cohort have lost so far: plain values, for the command and the console."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Standing:
    """The account of one part of a cohort, through whichever cohort its patients were told of."""

    cohort: str
    part: str
    patients: int
    epsilon: float
    """Of all answers with noise so far, at the policy's delta."""

    promised: float
    """The same with what studies that were agreed to have yet to spend."""

    without_noise: int
    """Answers that no bound holds for."""
