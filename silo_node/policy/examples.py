"""A made-up study, so that a policy can be asked about one before anybody has asked."""

from silo_node.wire.studies import StudyPlan

_DIGEST = "blake3:" + "0" * 64


def example_plan(name: str, benchmark: str, purpose: str) -> StudyPlan:
    """Return a short study of a benchmark for a purpose; raises ``ValueError`` for what no plan can say."""
    return StudyPlan.model_validate(
        {
            "name": name,
            "title": name,
            "benchmark": {"name": benchmark, "version": 1, "digest": _DIGEST},
            "model": {"digest": _DIGEST, "size": 1},
            "silos": ("silo-example",),
            "rounds": 1,
            "quorum": 1,
            "deadline_seconds": 60,
            "purpose": purpose,
        }
    )
