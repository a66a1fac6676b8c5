"""Pages of leaderboards: the newest of a benchmark, that of a version, and any snapshot by its digest."""

from collections.abc import Mapping
from dataclasses import dataclass

from flask import Blueprint, Response, request
from markupsafe import Markup
from sqlalchemy.orm import Session

from federation_hub.benchmarks.service import find, versions
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.board import Board
from federation_hub.leaderboards.curves import curves_of
from federation_hub.leaderboards.exports import board_tables
from federation_hub.leaderboards.figures import figures_view
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.query import parse_query
from federation_hub.leaderboards.reading import empty_board
from federation_hub.leaderboards.revisions import revision
from federation_hub.leaderboards.service import latest, snapshot_of
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.leaderboards.view import board_view
from federation_hub.services import services
from federation_hub.stored import read_stored
from federation_hub.web.data_tables import FOR_EVER, answer
from federation_hub.web.rendering import link, page
from federation_hub.web.structured import benchmark_dataset, script
from federation_hub.web.words import arrow, plural, state
from silo_node.web.formats import metric_name, minute, score
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("leaderboard_pages", __name__)
API = "/api/v1"
Facts = tuple[tuple[str, str | Markup], ...]


@dataclass(frozen=True, slots=True)
class BoardPage:
    """What a leaderboard page shows beside the board itself."""

    title: str
    summary: str
    eyebrow: str
    provenance: str
    older: str | None
    """Where the board as it stands now is, when this one is superseded."""

    retired: bool
    json_href: str
    figures_href: str | None
    csv_href: str
    tables: str | None
    """Where the tables are as data: below the snapshot, so that what was cited stays what it was."""

    about: str
    sites: str
    compare: str
    standing: bool
    """It is the board as it stands now, which pairs are compared on."""

    awaited: bool
    """Its results have changed, and it is being computed."""

    structured: Markup
    facts: Facts


@blueprint.get("/benchmarks/<name>")
def benchmark(name: str) -> str:
    """Show the standing leaderboard of a benchmark's newest version."""
    return _standing(name, None)


@blueprint.get("/benchmarks/<name>/<int:version>/leaderboard")
def leaderboard_of_version(name: str, version: int) -> str:
    """Show the standing leaderboard of one version."""
    return _standing(name, version)


@blueprint.get("/snapshots/<digest>")
def snapshot(digest: str) -> str:
    """Show one snapshot, as it was and for ever will be."""
    with services().database.reading() as session:
        found = snapshot_of(session, digest)
        row = session.get_one(Benchmark, found.benchmark_id)
        return _page(session, row, found, link("snapshots", digest), f"{API}/snapshots/{digest}")


@blueprint.get("/snapshots/<digest>/<table>.<any(csv, json):form>")
def snapshot_table(digest: str, table: str, form: str) -> Response:
    """Return one table of a snapshot as data."""
    with services().database.reading() as session:
        board = board_of(snapshot_of(session, digest))
    return answer(board_tables(board), table, form, caching=FOR_EVER)


@blueprint.get("/benchmarks/<name>/figures")
def benchmark_figures(name: str) -> str:
    """Show the figures of the standing leaderboard."""
    with services().database.reading() as session:
        row = find(session, name, None)
        found = latest(session, name, row.version)
        if found is None:
            raise MedSiloError("not-found")
        return _figures(row, found)


@blueprint.get("/snapshots/<digest>/figures")
def snapshot_figures(digest: str) -> str:
    """Show the figures of one snapshot."""
    with services().database.reading() as session:
        found = snapshot_of(session, digest)
        return _figures(session.get_one(Benchmark, found.benchmark_id), found)


def _figures(row: Benchmark, found: Snapshot) -> str:
    board = board_of(found)
    if not board.ranked:
        raise MedSiloError("not-found")
    view = figures_view(board, curves=lambda model: curves_of(found.digest, model))
    return page(
        "figures.html",
        figures=view,
        board=board,
        title=row.definition["title"],
        provenance=row.definition["provenance"],
        superseded=found.superseded_by is not None,
        board_href=link("snapshots", found.digest),
        standing_href=link("benchmarks", row.name),
    )


def _standing(name: str, version: int | None) -> str:
    with services().database.reading() as session:
        row = find(session, name, version)
        own = link("benchmarks", name) if version is None else board_link(row)
        return _page(session, row, latest(session, name, row.version), own, None)


def board_link(row: Benchmark) -> str:
    """Return where the board of a benchmark version is."""
    return link("benchmarks", row.name, row.version, "leaderboard")


def _page(session: Session, row: Benchmark, found: Snapshot | None, path: str, api: str | None) -> str:
    definition = read_stored(BenchmarkDefinition, row.definition)
    board = empty_board(definition) if found is None else board_of(found)
    older = _present(session, row, found)
    address = api or f"{API}/benchmarks/{row.name}/leaderboard"
    suffix = "" if api else f"?version={row.version}"
    about = BoardPage(
        title=definition.title,
        summary=definition.summary,
        eyebrow=_eyebrow(definition, found),
        provenance=definition.provenance,
        older=older,
        retired=row.state == "retired",
        json_href=f"{address}{suffix}",
        figures_href=link("snapshots", found.digest, "figures") if found is not None and board.ranked else None,
        csv_href=f"{address}.csv{suffix}",
        tables=link("snapshots", found.digest) if found is not None else None,
        about=link("benchmarks", row.name, row.version),
        sites=link("benchmarks", row.name, "sites"),
        compare=link("benchmarks", row.name, "compare"),
        standing=older is None,
        awaited=older is None and revision(session, row.id) is not None,
        structured=script(benchmark_dataset(row, definition, found)),
        facts=_facts(session, row, definition, board, found),
    )
    return page("leaderboard.html", view=board_view(board, parse_query(request.args), path), page=about)


def _eyebrow(definition: BenchmarkDefinition, found: Snapshot | None) -> str:
    parts = [definition.task, definition.modality, f"version {definition.version}"]
    return " · ".join([*parts, minute(found.created)] if found is not None else parts)


def _present(session: Session, row: Benchmark, found: Snapshot | None) -> str | None:
    """Return where the present board is, when this snapshot or this version is no longer it."""
    newest = versions(session, row.name)[-1]
    if newest.version != row.version or (found is not None and found.superseded_by is not None):
        return link("benchmarks", row.name)
    return None


def _facts(
    session: Session, row: Benchmark, definition: BenchmarkDefinition, board: Board, found: Snapshot | None
) -> Facts:
    others = [entry.version for entry in versions(session, row.name) if entry.version != row.version]
    limits, about = definition.disclosure, link("benchmarks", row.name, row.version)
    facts: list[tuple[str, str | Markup]] = [
        ("Benchmark", _links({f"{row.name}, version {row.version}": about}) + f", {state(row.state)}"),
        ("Data", f"{definition.data_source}; {definition.licence}"),
        ("Labels", ", ".join(definition.labels)),
        ("Metrics", ", ".join(_metric(definition))),
        ("Disclosure", _disclosure(limits.minimum_class, limits.minimum_cell, limits.minimum_sites)),
        ("Definition", _code(row.digest)),
    ]
    if others:
        facts.append(
            (
                "Other versions",
                _links({str(version): link("benchmarks", row.name, version, "leaderboard") for version in others}),
            )
        )
    if found is not None:
        here = Markup('<a href="{}"><code class="digest">{}</code></a>').format(
            link("snapshots", found.digest), found.digest
        )
        facts += [("Snapshot", here), ("Computed", minute(found.created))]
    if board.kendall_tau is not None:
        facts.append(("Agreement", f"Kendall's tau {score(board.kendall_tau)} between this order and a redrawn one"))
    return tuple(facts)


def _metric(definition: BenchmarkDefinition) -> list[str]:
    return [
        f"{metric_name(metric.name)} {arrow(metric.name)}"
        + (
            f" (at least {score(metric.floor)} wanted)"
            if metric.floor is not None and metric.direction == "higher"
            else ""
        )
        + (
            f" (at most {score(metric.floor)} wanted)"
            if metric.floor is not None and metric.direction == "lower"
            else ""
        )
        + (", decides the rank" if metric.primary else "")
        for metric in definition.metrics
    ]


def _disclosure(smallest_class: int, cell: int, sites: int) -> str:
    return (
        f"A hospital tells nothing of a class under {plural(smallest_class, 'case')} and no count under {cell}; "
        f"nothing is published from fewer than {plural(sites, 'hospital')}."
    )


def _code(digest: str) -> Markup:
    return Markup('<code class="digest">{}</code>').format(digest)


def _links(addresses: Mapping[str, str]) -> Markup:
    return Markup(", ").join(Markup('<a href="{}">{}</a>').format(href, text) for text, href in addresses.items())
