"""One weighted mean for each group of a study's silos, in fixed point, as secure aggregation makes it.

A federation adds masked words up and a simulation the plain ones; the sums, and so the means, are the same bits.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from federation_hub.aggregation.fold import Update
from pipelines.errors import PipelineError
from pipelines.masking.fixed_point import FixedPoint
from pipelines.masking.sums import Masks, WeightedSum, encoded, write_mean
from silo_node.wire.errors import IntegrityError
from silo_node.wire.masking import groups_of, least_survivors
from silo_node.wire.studies import StudyPlan


def group_name(place: int) -> str:
    """Return the name under which a group's mean is folded."""
    return f"group-{place:03}"


def meaning_of(plan: StudyPlan, roster: Collection[int], weights: Collection[int]) -> WeightedSum:
    """Return what a sum over sites of these weights means, encoded for a roster of those."""
    masking = plan.secure_aggregation
    assert masking is not None
    encoding = FixedPoint.for_sum(masking.largest_change, sum(roster), len(roster), masking.word_bits)
    return WeightedSum(encoding, sum(weights), len(weights))


def plain_means(updates: Sequence[Update], plan: StudyPlan, base: Path, stem: Path) -> list[Update]:
    """Return each group's mean, written beside ``stem`` from plain updates; a group with too few has none.

    Raises :class:`IntegrityError` ``masking-overflow`` where a value does not fit.
    """
    masking = plan.secure_aggregation
    assert masking is not None
    means = []
    for place, silos in enumerate(groups_of(plan.silos, masking.groups, plan.seed)):
        group = [update for update in updates if update.silo_id in silos]
        if len(group) < least_survivors(masking, len(silos)):
            continue
        weights = [update.weight for update in group]
        meaning = meaning_of(plan, weights, weights)
        out = stem.with_name(f"{stem.name}.{group_name(place)}")
        try:
            sources = [encoded(update.path, meaning.encoding, update.weight) for update in group]
            write_mean(sources, Masks(), meaning, base, out)
        except PipelineError as error:
            raise IntegrityError(error.code, error.detail) from error
        means.append(Update(group_name(place), out, sum(weights)))
    return means
