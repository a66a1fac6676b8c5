"""Which models a person may see, and on which benchmarks a model has, or had, its place."""

from sqlalchemy import Select, or_, select
from sqlalchemy.orm import Session

from federation_hub.accounts.actors import Actor
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import hidden_digests, private_places
from federation_hub.models.tables import Model


def visible_models(actor: Actor) -> Select[Model]:
    """Select the models a person may see: those of the own organisation, and every accepted one that is not private."""
    if "hub-admin" in actor.roles:
        return select(Model)
    told = (Model.state == "accepted") & Model.digest.not_in(hidden_digests())
    return select(Model).where(or_(Model.owner_organisation_id == actor.organisation_id, told))


def entered_models(actor: Actor, benchmark: str) -> Select[Model]:
    """Select those of them that a person may know to stand on a benchmark, in any version."""
    places = (
        select(Association.model_digest)
        .join(Benchmark, Benchmark.id == Association.benchmark_id)
        .where(Benchmark.name == benchmark, Association.model_digest.is_not(None))
    )
    visible = visible_models(actor)
    if "hub-admin" in actor.roles:
        return visible.where(Model.digest.in_(places))
    shown = Model.digest.in_(places.where(Association.id.not_in(private_places())))
    own = (Model.owner_organisation_id == actor.organisation_id) & Model.digest.in_(places)
    return visible.where(or_(own, shown))


def benchmarks_of(session: Session, digest: str) -> list[Benchmark]:
    """Return the benchmark versions of a model, by name, the newest version first.

    Ended places count as well: what was published keeps its page.
    """
    rows = (
        select(Benchmark)
        .join(Association, Association.benchmark_id == Benchmark.id)
        .where(Association.model_digest == digest, Association.state.in_(("approved", "ended")))
        .where(Association.id.not_in(private_places()))
        .order_by(Benchmark.name, Benchmark.version.desc())
    )
    return list(session.scalars(rows).unique())
