"""Leaderboards: what they are computed from, and their snapshots, kept for ever and superseded, never overwritten."""

from sqlalchemy import select
from sqlalchemy.orm import Session, defer

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.audit import record
from federation_hub.accounts.tables import Organisation
from federation_hub.associations.tables import Association
from federation_hub.benchmarks.service import find
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.entries.service import kept_back
from federation_hub.entries.tables import Entry
from federation_hub.evaluations.service import is_baseline
from federation_hub.evaluations.tables import EstimateBlockRow, block_text
from federation_hub.leaderboards.inputs import from_manifest, open_to_all
from federation_hub.leaderboards.publication import sites_of_benchmark
from federation_hub.leaderboards.revisions import outdate
from federation_hub.leaderboards.snapshots import AcceptedBlock, BoardInputs, ListedModel
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.models.tables import Model
from federation_hub.silos.service import silo_of_id
from silo_node.wire.cohorts import Publication
from silo_node.wire.errors import MedSiloError

WITHOUT_BOARD = (defer(Snapshot.body), defer(Snapshot.manifest))
"""Snapshots without what is large about them, which is read within the same session when somebody asks for it."""


def latest(session: Session, name: str, version: int | None = None) -> Snapshot | None:
    """Return the standing snapshot of a benchmark version, by default the newest; None before the first result.

    Raises ``benchmark-unknown``.
    """
    return _standing(session, find(session, name, version))


def snapshot_of(session: Session, digest: str) -> Snapshot:
    """Return a snapshot by its digest, standing or superseded; raises ``not-found``."""
    snapshot = session.get(Snapshot, digest, options=WITHOUT_BOARD)
    if snapshot is None:
        raise MedSiloError("not-found")
    return snapshot


def inputs_of(session: Session, snapshot: Snapshot) -> BoardInputs:
    """Return what a snapshot was computed from; raises ``not-found`` for one that was made before that was kept."""
    if snapshot.manifest is None:
        raise MedSiloError("not-found")
    benchmark = session.get_one(Benchmark, snapshot.benchmark_id)
    wanted = EstimateBlockRow.digest.in_(snapshot.manifest["blocks"])
    rows = session.execute(select(EstimateBlockRow.digest, EstimateBlockRow.silo_id, block_text()).where(wanted))
    blocks = tuple(AcceptedBlock(digest, silo_id, text) for digest, silo_id, text in rows)
    return from_manifest(snapshot.manifest, benchmark.definition, benchmark.digest, blocks)


def readable_inputs(session: Session, digest: str, actor: Actor) -> BoardInputs:
    """Return a snapshot's inputs for whoever may have them: everybody, or only those who answer for the benchmark.

    Raises ``not-found``, and ``inputs-withheld`` where a hospital keeps its own results to itself, then or by now.
    """
    snapshot = snapshot_of(session, digest)
    inputs = inputs_of(session, snapshot)
    benchmark = session.get_one(Benchmark, snapshot.benchmark_id)
    answers = "benchmark-owner" in actor.roles and actor.organisation_id == benchmark.owner_organisation_id
    if answers or "hub-admin" in actor.roles:
        return inputs
    present = sites_of_benchmark(session, benchmark.name)
    if not open_to_all(inputs) or not all(present[block.silo_id].shown for block in inputs.blocks):
        raise MedSiloError("inputs-withheld")
    return inputs


def publish_site(session: Session, silo_id: str, wish: Publication, actor: Actor) -> None:
    """Let a hospital be named, go by its pseudonym, or keep its own results to itself; its boards follow.

    Only the hospital's own organisation may wish; raises ``not-found`` for anybody else. Earlier snapshots stay.
    """
    silo = silo_of_id(session, silo_id)
    if actor.organisation_id != silo.organisation_id:
        raise MedSiloError("not-found")
    before, silo.publication = silo.publication, wish
    record(session, actor, "silo.publish", silo.id, before, wish)
    session.flush()
    concerned = select(Benchmark).join(EstimateBlockRow).where(EstimateBlockRow.silo_id == silo_id)
    outdate(session, session.scalars(concerned).unique())


def gather(session: Session, benchmark: Benchmark) -> BoardInputs:
    """Return everything the board of a benchmark version depends on."""
    return BoardInputs(
        definition=benchmark.definition,
        benchmark_digest=benchmark.digest,
        blocks=_blocks(session, benchmark),
        models=_models(session, benchmark),
        sites=sites_of_benchmark(session, benchmark.name),
    )


def _standing(session: Session, benchmark: Benchmark) -> Snapshot | None:
    return session.scalar(
        select(Snapshot)
        .where(Snapshot.benchmark_id == benchmark.id, Snapshot.superseded_by.is_(None))
        .options(*WITHOUT_BOARD)
    )


def _blocks(session: Session, benchmark: Benchmark) -> tuple[AcceptedBlock, ...]:
    """Return the accepted blocks of each silo's newest cohort: with a new one it is still the same hospital."""
    row = EstimateBlockRow
    found = session.execute(
        select(row.digest, row.silo_id, row.cohort_id, block_text())
        .where(row.benchmark_id == benchmark.id, row.state == "accepted")
        .order_by(row.received, row.digest)
    ).all()
    newest = {silo_id: cohort_id for _, silo_id, cohort_id, _ in found}
    blocks = (
        AcceptedBlock(digest, silo_id, text)
        for digest, silo_id, cohort_id, text in found
        if cohort_id == newest[silo_id]
    )
    return tuple(sorted(blocks, key=lambda block: block.digest))


def _models(session: Session, benchmark: Benchmark) -> tuple[ListedModel, ...]:
    hidden = kept_back(session, benchmark)
    rows = session.execute(
        select(Model, Organisation.name, Entry)
        .join(Association, Association.model_digest == Model.digest)
        .join(Organisation, Organisation.id == Model.owner_organisation_id)
        .outerjoin(Entry, (Entry.model_digest == Model.digest) & (Entry.benchmark_id == benchmark.id))
        .where(Association.benchmark_id == benchmark.id, Association.state == "approved", Model.state == "accepted")
        .order_by(Model.digest)
    )
    return tuple(
        listed(model, organisation, entry) for model, organisation, entry in rows if model.digest not in hidden
    )


def listed(model: Model, organisation: str, entry: Entry | None) -> ListedModel:
    """Return a model as boards list it; a later version says so in its name."""
    return ListedModel(
        digest=model.digest,
        name=model.card["name"] if model.version == 1 else f"{model.card['name']}, version {model.version}",
        baseline=is_baseline(model, entry),
        organisation=organisation,
        study=(model.lineage or {}).get("study"),
        attempt=entry.attempt if entry else None,
    )
