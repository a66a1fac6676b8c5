"""A submission from its arrival to its place on the benchmark, whoever brings it: a program or a page's form."""

from federation_hub.accounts.actors import Actor
from federation_hub.benchmarks import service as benchmarks
from federation_hub.checks.service import ask_for_check, demo_cohort
from federation_hub.entries import service as entries
from federation_hub.models import service
from federation_hub.models.inspection import judge_bundle
from federation_hub.services import Services
from silo_node.wire.errors import MedSiloError
from silo_node.wire.models import ModelSubmission


def submit(hub: Services, wish: ModelSubmission, actor: Actor) -> str:
    """Submit an uploaded bundle to a benchmark and return the model's digest.

    It is judged here, and refused with the reason's code; then it is no attempt. Where the operator has a check node
    for the benchmark, the model is ``checking`` until that node has run it.
    """
    if not hub.blobs.has(wish.bundle.digest):
        raise MedSiloError("not-found")
    with hub.database.session() as session:
        benchmark = benchmarks.find(session, wish.benchmark, wish.benchmark_version)
        definition = benchmark.definition
        received = service.receive(
            session,
            bundle=wish.bundle,
            card=wish.card,
            actor=actor,
            monthly=hub.config.submissions_per_month,
            version_of=wish.version_of,
        )
        accepted = received.state == "accepted"
        first = entries.entry_of(session, benchmark, wish.bundle.digest) is None
        entries.enter(session, benchmark, wish, actor)
    # Reading a large bundle takes seconds; no transaction is open meanwhile.
    try:
        summary = judge_bundle(hub.blobs.path(wish.bundle.digest), definition, hub.config.model_tiers)
    except MedSiloError as error:
        with hub.database.session() as session:
            if first:
                entries.forget(session, wish.bundle.digest, actor, benchmark)
            if not accepted:
                service.reject(session, service.model_of_digest(session, wish.bundle.digest), error.code)
        if not accepted:
            hub.blobs.delete(wish.bundle.digest)
        raise
    with hub.database.session() as session:
        model = service.model_of_digest(session, wish.bundle.digest)
        benchmark = benchmarks.find(session, wish.benchmark, wish.benchmark_version)
        cohort = demo_cohort(session, benchmark) if model.state == "checking" else None
        if cohort is not None:
            service.note_summary(model, summary)
            ask_for_check(session, model, benchmark, cohort)
            return model.digest
        if model.state == "checking":
            service.accept(session, model, summary)
        service.associate(session, model.digest, benchmark, actor=actor)
        return model.digest
