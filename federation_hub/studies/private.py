"""The noisy means of a study with differential privacy at the hub, counted before any noise is drawn.

A hub that is killed while it folds draws again, and so does one whose round was rolled back: each is counted, and the
study ends with ``privacy-spent`` once there were as many as its promise was made for.
"""

from federation_hub.aggregation.private_mean import PrivateMean, planned_folds
from federation_hub.services import Services
from federation_hub.studies.service import plan_of
from federation_hub.studies.tables import Study
from pipelines.privacy.randomness import SecretRandomness
from silo_node.wire.errors import MedSiloError
from silo_node.wire.privacy import SiloPrivacy

FOLDS, NORM = "folds", "clipping_norm"


def begin_fold(services: Services, study_id: str) -> PrivateMean | None:
    """Count one more noisy mean and return it; None for a study without noise at the hub.

    Raises :class:`MedSiloError` ``privacy-spent``, and ``privacy-unavailable`` where the accountant is not installed.
    """
    with services.database.session() as session:
        study = session.get_one(Study, study_id, with_for_update=True)
        plan = plan_of(study)
        if not isinstance(plan.privacy, SiloPrivacy):
            return None
        before = study.private or {FOLDS: 0, NORM: plan.privacy.clipping_norm}
        if before[FOLDS] >= planned_folds(plan):
            raise MedSiloError("privacy-spent", f"{before[FOLDS]} noisy means were made")
        study.private = {**before, FOLDS: before[FOLDS] + 1}
    try:
        return PrivateMean.of(plan, float(before[NORM]), SecretRandomness())
    except ImportError:
        raise MedSiloError("privacy-unavailable") from None


def end_fold(services: Services, study_id: str, private: PrivateMean | None) -> None:
    """Keep the norm the next round clips to; the count behind it had its noise."""
    if private is None:
        return
    with services.database.session() as session:
        study = session.get_one(Study, study_id, with_for_update=True)
        assert study.private is not None
        study.private = {**study.private, NORM: private.next_norm}
