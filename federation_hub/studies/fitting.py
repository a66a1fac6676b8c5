"""Which plans cannot do what they say with the model they start from. What a plan says of itself is in the wire."""

from typing import Any

from pipelines.bundles import NETWORKS
from pipelines.bundles.normalisation import trains_normalisation
from silo_node.wire.errors import BadInput
from silo_node.wire.strategies import FedBN
from silo_node.wire.studies import StudyPlan


def require_fit(plan: StudyPlan, network: str, arguments: dict[str, Any]) -> None:
    """Raise ``plan-fedbn-idle`` where FedBN would keep nothing at the sites, so that it were federated averaging."""
    if isinstance(plan.personal, FedBN) and network in NETWORKS and not trains_normalisation(network, arguments):
        raise BadInput("plan-fedbn-idle", f"{network} with these arguments has normalisation layers without weights")
