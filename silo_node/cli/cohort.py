"""``silo-node cohort``: build, look at, register and retire cohorts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from silo_node.cli.progress import progress_bar
from silo_node.cli.session import Json, Session, session_of, show, table
from silo_node.wire.errors import BadInput, HubUnavailable, MedSiloError

if TYPE_CHECKING:
    from silo_node.catalogue import CohortRow
    from silo_node.cohorts.query import CohortQuery
    from silo_node.wire.benchmarks import BenchmarkDefinition

cohort_app = typer.Typer(no_args_is_help=True, help="Build, look at, register and retire cohorts.")

CohortName = Annotated[str, typer.Argument(help="The cohort's id, as `cohort list` shows it, or its fingerprint.")]


@cohort_app.command("build")
def build(
    context: typer.Context,
    benchmark: Annotated[str, typer.Argument(help="The benchmark's name.")],
    version: Annotated[int | None, typer.Option(help="Its version; the latest published one where absent.")] = None,
    definition: Annotated[
        Path | None, typer.Option(help="Read the definition from a TOML or JSON file instead of asking the hub.")
    ] = None,
    collection: Annotated[str | None, typer.Option(help="Only cases taken in under this name.")] = None,
    query: Annotated[
        Path | None, typer.Option(help="TOML file that declares which cases are wanted: attributes, spacing, size.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV of labels by patient, accession, series or instance, for images that came without."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build and freeze a cohort for a benchmark: choose cases, split by patient, prepare them in the sandbox.

    Writes a report with the flow of cases, their quality and pictures. Nothing leaves the site.

    Example: silo-node cohort build chest_phantom --query chest.toml
    """
    from silo_node.reports.building import build_with_report

    session = session_of(context)
    question = question_of(session, definition, benchmark, version)
    asked = _read_query(query)
    with progress_bar("Preparing", quiet=as_json) as progress:
        built, report = build_with_report(
            session.home, session.config, question, asked, progress, collection=collection, labels=labels
        )
    left_out = {reason: count for reason, count in sorted(built.excluded.items()) if count}
    text = [_line(built.cohort), *(f"  left out: {count:6d}  {reason}" for reason, count in left_out.items())]
    text.append(f"Its report, for this site only: {report}")
    text.append(f"Register it with: silo-node cohort register {built.cohort.cohort_id}")
    show({**_facts(built.cohort), "excluded": left_out, "report": str(report)}, as_json=as_json, text="\n".join(text))


@cohort_app.command("list")
def list_cohorts(context: typer.Context, as_json: Json = False) -> None:
    """List the cohorts of this node.

    Example: silo-node cohort list
    """
    from silo_node.catalogue import Catalogue

    with Catalogue(session_of(context).home.create().catalogue) as catalogue:
        rows = catalogue.cohorts()
    columns = ("cohort", "state", "benchmark", "cases", "patients", "train", "validation", "test")
    lines = [
        (row.cohort_id, row.state, f"{row.benchmark} {row.version}", *(row.facts.get(name) for name in columns[3:]))
        for row in rows
    ]
    text = table(columns, lines) if rows else "No cohort yet. Build one with: silo-node cohort build BENCHMARK"
    show([_facts(row) for row in rows], as_json=as_json, text=text)


@cohort_app.command("show")
def show_cohort(context: typer.Context, cohort: CohortName, as_json: Json = False) -> None:
    """Verify a cohort's files and show it, with exactly what registering would send.

    Example: silo-node cohort show coh-0123456789abcdef
    """
    from silo_node.cohorts.registry import find_cohort, verify_cohort

    session = session_of(context)
    row = find_cohort(session.home.create(), cohort)
    if row.state != "retired":
        verify_cohort(session.home, row.cohort_id)
    preview = _preview(session, row)
    told = f"\nRegistering sends exactly this, signed:\n{json.dumps(preview, indent=2)}" if preview else ""
    show({**_facts(row), "registration": preview}, as_json=as_json, text=_line(row) + told)


@cohort_app.command("register")
def register(context: typer.Context, cohort: CohortName, as_json: Json = False) -> None:
    """Tell the hub about a frozen cohort: its keyed fingerprint, the sizes of its splits and its card, signed.

    The statement waits in the outbox where the policy wants a person's yes.

    Example: silo-node cohort register coh-0123456789abcdef
    """
    from silo_node.cohorts.registry import find_cohort, prepare_registration
    from silo_node.registration import register_cohort

    session = session_of(context)
    identity = session.identity
    registration = prepare_registration(
        session.home.create(), cohort, silo_id=identity.silo_id, provenance=session.config.provenance
    )
    with session.hub() as hub, session.journal() as journal:
        item, record = register_cohort(session.home, identity, hub, journal, registration)
    row = find_cohort(session.home, cohort)
    facts = {**_facts(row), "outbox_item": item.item_id, "association": record.association if record else None}
    if record is None:
        text = f"{row.cohort_id} is held. Release it with: silo-node outbox release {item.item_id}"
    else:
        text = f"{row.cohort_id} is registered as {record.cohort_id}; its place in the benchmark: {record.association}."
    show(facts, as_json=as_json, text=text)


@cohort_app.command("retire")
def retire(
    context: typer.Context,
    cohort: CohortName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Retire a cohort, delete its prepared images and its report, and tell the hub. The raw cases stay.

    Where the hub cannot be reached the images are deleted all the same; run the command again to tell it.

    Example: silo-node cohort retire coh-0123456789abcdef --yes
    """
    from silo_node.cohorts.registry import find_cohort, retire_cohort

    session = session_of(context)
    row = find_cohort(session.home.create(), cohort)
    untold = row.state == "retired" and row.hub_cohort_id is not None
    if not untold:
        if not yes:
            typer.confirm(f"Delete the prepared images of {row.cohort_id}?", abort=True, err=True)
        row = retire_cohort(session.home, row.cohort_id)
    told = _tell_hub(session, row)
    said = {True: " The hub knows.", False: " The hub could not be reached: run this again to tell it.", None: ""}
    show({**_facts(row), "hub_told": told}, as_json=as_json, text=_line(row) + said[told])


def question_of(session: Session, path: Path | None, name: str, version: int | None) -> "BenchmarkDefinition":
    """Return a benchmark's definition from a file, or from the hub where none is given."""
    return _read_definition(path, name) if path else _ask_hub(session, name, version)


def _read_definition(path: Path, name: str) -> "BenchmarkDefinition":
    from benchmarks.definition import load_definition

    found = load_definition(path)
    if found.name != name:
        raise BadInput("benchmark-unknown", f"{path} defines {found.name}")
    return found


def _read_query(path: Path | None) -> "CohortQuery":
    from silo_node.cohorts.query import CohortQuery
    from silo_node.config import read_settings

    if path is None:
        return CohortQuery()
    if not path.is_file():
        raise BadInput("file-missing", str(path))
    return read_settings(path, CohortQuery, BadInput, "query-invalid")


def _tell_hub(session: Session, row: "CohortRow") -> bool | None:
    """Tell the hub that a cohort it knows is gone: whether it knows now, None where it never knew the cohort."""
    if row.hub_cohort_id is None or not session.home.enrolment_file.exists():
        return None
    try:
        with session.hub() as hub:
            hub.retire_cohort(row.hub_cohort_id)
    except HubUnavailable:
        return False
    except MedSiloError as error:
        # It was told before, or has retired the cohort itself.
        if error.code not in ("state-conflict", "cohort-unknown", "not-found"):
            raise
    return True


def _ask_hub(session: Session, name: str, version: int | None) -> "BenchmarkDefinition":
    from silo_node.benchmarks import fetch_benchmark, fetch_latest_benchmark

    with session.hub() as hub:
        if version is None:
            return fetch_latest_benchmark(session.home.create(), hub, name)
        return fetch_benchmark(session.home.create(), hub, name, version)


def _preview(session: Session, row: "CohortRow") -> dict[str, Any] | None:
    """Return the registration of a frozen cohort, where the node is enrolled and so has a name to sign with."""
    from silo_node.cohorts.registry import prepare_registration

    if row.state not in ("frozen", "registered") or not session.home.enrolment_file.exists():
        return None
    registration = prepare_registration(
        session.home, row.cohort_id, silo_id=session.identity.silo_id, provenance=session.config.provenance
    )
    return registration.model_dump(mode="json")


def _facts(row: "CohortRow") -> dict[str, Any]:
    return {
        "cohort_id": row.cohort_id,
        "state": row.state,
        "benchmark": row.benchmark,
        "version": row.version,
        "fingerprint": row.fingerprint,
        "hub_cohort_id": row.hub_cohort_id,
        "created": row.created,
        **row.facts,
    }


def _line(row: "CohortRow") -> str:
    sizes = ", ".join(f"{count} {name}" for name, count in row.facts.items())
    return f"{row.cohort_id} is {row.state} for {row.benchmark} {row.version}: {sizes}"
