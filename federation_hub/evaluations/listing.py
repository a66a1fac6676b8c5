"""Which evaluations a person may see."""

from sqlalchemy import ColumnElement, Select, Text, cast, or_, select

from federation_hub.accounts.actors import Actor
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.evaluations.tables import Evaluation
from federation_hub.models.tables import Model


def visible_evaluations(actor: Actor, benchmark: str | None = None) -> Select[Evaluation]:
    """Select what a person may see, of one benchmark or of all: the owners of the benchmark and of a model in it."""
    found = select(Evaluation)
    if benchmark is not None:
        found = found.where(Evaluation.benchmark_id.in_(select(Benchmark.id).where(Benchmark.name == benchmark)))
    if "hub-admin" in actor.roles:
        return found
    # A digest has one length and no wildcard in it, so that the list's text holds it where the list does.
    own = select(Model.digest).where(
        Model.owner_organisation_id == actor.organisation_id, cast(Evaluation.models, Text).contains(Model.digest)
    )
    sides: list[ColumnElement[bool]] = [own.exists()]
    if "benchmark-owner" in actor.roles:
        ours = select(Benchmark.id).where(Benchmark.owner_organisation_id == actor.organisation_id)
        sides.append(Evaluation.benchmark_id.in_(ours))
    return found.where(or_(*sides))
