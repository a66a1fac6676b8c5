"""The study a study is compared with: the same sites, cases, start and budget, by plain federated averaging.

Which one it is stands in the plan, so it is fixed before the first site says yes, and nobody picks a weak one later.
"""

from silo_node.wire.course import Evaluation, InRounds
from silo_node.wire.strategies import FedAvg, Mean, Shared
from silo_node.wire.studies import StudyPlan

_FREE = {"name", "title", "quorum", "deadline_seconds"}
"""What may differ between a study and its baseline."""


def averaging_twin(plan: StudyPlan) -> StudyPlan:
    """Return the plan by federated averaging in its simplest form (McMahan et al. 2017); what guards patients stays."""
    evaluation = plan.evaluation
    return plan.model_copy(
        update={
            "name": f"{plan.name[:33]}_fedavg",
            "title": f"{plan.title[:80]}, by plain federated averaging",
            "strategy": FedAvg(),
            "robust": Mean(),
            "local": plan.local.model_copy(update={"proximal": 0.0, "normalise_to": None}),
            "personal": Shared(),
            "schedule": InRounds(),
            "gate": None,
            "evaluation": Evaluation(every=evaluation.every, keep=evaluation.keep, by=evaluation.by),
            "baseline": None,
        }
    )


def is_baseline(other: StudyPlan, plan: StudyPlan) -> bool:
    """Tell whether another plan is this one's twin in all that decides a model."""
    return other.model_dump(exclude=_FREE) == averaging_twin(plan).model_dump(exclude=_FREE)
