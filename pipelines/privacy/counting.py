"""Noisy counts by OpenDP: discrete Laplace noise from an exact sampler. A patient is in one count only."""

from collections.abc import Sequence


def noisy_counts(counts: Sequence[int], epsilon: float) -> list[int]:
    """Return the counts with noise that costs ``epsilon`` where one patient is there or not; loads OpenDP."""
    import opendp.prelude as dp

    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int)
    mechanism = dp.m.make_laplace(*space, scale=1 / epsilon)
    cost: float = mechanism.map(1)  # type: ignore[no-untyped-call]  # OpenDP types only part of its surface
    if cost > epsilon * (1 + 1e-9):
        raise ValueError("the noise is too small for this epsilon")
    return [int(count) for count in mechanism(list(counts))]
