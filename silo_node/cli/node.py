"""``silo-node enrol | unenrol | start | status | doctor``."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from silo_node.cli.session import Json, session_of, show, table, warn
from silo_node.presentation import EXIT_REFUSED


def enrol(
    context: typer.Context,
    hub: Annotated[str, typer.Option(help="Address of the hub.")],
    code: Annotated[str, typer.Option(help="The one-time code the hub's admin gave you.")],
    as_json: Json = False,
) -> None:
    """Join a hub: make this site's key, and show its fingerprint for the hub's admin to compare.

    Example: silo-node enrol --hub https://hub.example.org --code ABCD-EFGH-2345-6789
    """
    from silo_node.config import web_address
    from silo_node.hub import Hub
    from silo_node.identity import enrol as join
    from silo_node.identity import gate

    session = session_of(context)
    session.home.create()
    connection = Hub(web_address(hub), gate(session.home), session.config)
    enrolment = join(session.home, connection, code)
    answer = {
        "silo_id": enrolment.silo_id,
        "silo_name": enrolment.silo_name,
        "hub": enrolment.hub_url,
        "fingerprint": enrolment.fingerprint,
    }
    text = (
        f"Enrolled as {enrolment.silo_name} ({enrolment.silo_id}) at {enrolment.hub_url}.\n\n"
        f"This site's fingerprint:  {enrolment.fingerprint}\n\n"
        "Read it to the hub's admin by telephone. The site becomes active once the admin has compared it."
    )
    show(answer, as_json=as_json, text=text)


def unenrol(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Leave the hub: forget its key and the token, and destroy this site's key. Cohorts and logs stay.

    Example: silo-node unenrol --yes
    """
    from silo_node.agent.loop import single_instance
    from silo_node.identity import load_enrolment
    from silo_node.identity import unenrol as leave

    session = session_of(context)
    enrolment = load_enrolment(session.home)
    if not yes:
        typer.confirm(f"Leave {enrolment.hub_url} as {enrolment.silo_name}? This cannot be undone.", abort=True)
    with single_instance(session.home):
        leave(session.home)
    show({"silo_id": enrolment.silo_id}, as_json=as_json, text=f"{enrolment.silo_name} has left {enrolment.hub_url}.")


def rotate_key(
    context: typer.Context,
    token_only: Annotated[bool, typer.Option("--token-only", help="Keep the key; take a new token only.")] = False,
    as_json: Json = False,
) -> None:
    """Exchange this site's signing key and token for new ones. A running node takes them up by itself.

    The hub takes the earlier ones for a day more, so that nothing on its way is lost. What they signed stays
    verifiable. Tell the hub's admin the new fingerprint by telephone if somebody may have seen the old key.

    Example: silo-node rotate-key
    """
    from silo_node.identity import load_enrolment, rotate

    session = session_of(context)
    with session.hub() as hub:
        receipt = rotate(session.home, hub, session.identity, token_only=token_only)
    fingerprint = load_enrolment(session.home).fingerprint
    answer = {
        "fingerprint": fingerprint,
        "previous_until": receipt.previous_until,
        "token_until": receipt.token_expires,
    }
    text = f"This site's fingerprint is now  {fingerprint}\nThe earlier key and token count until "
    show(answer, as_json=as_json, text=f"{text}{receipt.previous_until:%d %b %Y, %H:%M} UTC.")


def start(
    context: typer.Context,
    ready_file: Annotated[Path | None, typer.Option(help="Written once the node is at work.")] = None,
) -> None:
    """Run the node until it is told to end (Ctrl-C, SIGTERM). Its log goes to standard error.

    Example: silo-node start
    """
    session = session_of(context)
    command = [sys.executable, "-m", "silo_node.agent", str(session.home.path)]
    if ready_file is not None:
        command.append(str(ready_file.resolve()))
    # A fresh interpreter without the command line's libraries: a node waits for weeks and should be small.
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, command)  # noqa: S606  # the same interpreter, no shell


def status(context: typer.Context, as_json: Json = False) -> None:
    """Show who this node is, how the hub sees it, what it holds, what it does, and what needs attention.

    Example: silo-node status
    """
    from silo_node.status import overview

    session = session_of(context)
    found = overview(session.home, session.config)
    lines = [f"{name:<12} {value}" for name, value in found["node"].items()]
    for name in ("cohorts", "tasks", "outbox"):
        rows = found[name]
        if rows:
            lines += ["", f"{name.capitalize()}:", table(list(rows[0]), [list(row.values()) for row in rows])]
    show(found, as_json=as_json, text="\n".join(lines))
    if not as_json:
        for warning in found["warnings"]:
            warn(f"{warning['code']}  {warning['text']}")


def doctor(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes some seconds.")] = False,
    as_json: Json = False,
) -> None:
    """Check network, proxy, certificate, clock, disk, permissions, sandbox, DICOM and a model; findings are coded.

    Example: silo-node doctor
    Exit status: 0 all well, 1 something must be repaired.
    """
    from silo_node.doctor import examine, keep_report

    session = session_of(context)
    report = keep_report(session.home, examine(session.home, quick=quick))
    rows = [(finding.code, finding.verdict, finding.text) for finding in report.sorted]
    lines = [table(["code", "", "finding"], rows)]
    for finding in (*report.failed, *report.warnings):
        lines.append(f"\n{finding.code}: {finding.remedy}\n  See {finding.docs}")
    values = [{**asdict(finding), "title": finding.title, "docs": finding.docs} for finding in report.sorted]
    show(values, as_json=as_json, text="\n".join(lines))
    if report.failed:
        raise typer.Exit(EXIT_REFUSED)


def bugreport(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="The file to write.")] = Path("silo-node-bugreport.zip"),
    log: Annotated[Path | None, typer.Option(help="A file with the node's log lines, to add the last of them.")] = None,
    as_json: Json = False,
) -> None:
    """Write a bundle for a support ticket: versions, settings, findings, counts. No secret, no patient, no result.

    Read it before you send it; it is a zip archive of text files.

    Example: silo-node bugreport
    """
    from silo_node.doctor import examine
    from silo_node.doctor.bugreport import write_bugreport
    from silo_node.wire.errors import BadInput

    session = session_of(context)
    if log is not None and not log.is_file():
        raise BadInput("file-missing", str(log))
    parts = write_bugreport(session.home, out, examine(session.home, quick=True), log)
    show({"file": str(out), "parts": parts}, as_json=as_json, text=f"Wrote {out}: {', '.join(parts)}. Read it first.")


def upgrade(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Only compare versions; nothing else is done yet.")] = True,
    as_json: Json = False,
) -> None:
    """Ask the hub which versions it speaks and recommends, and say whether this node should be upgraded, and how.

    Nothing is installed: software in a hospital is changed by the hospital's own hands.

    Example: silo-node upgrade --check
    Exit status: 0 nothing to do, 1 an upgrade is recommended or needed.
    """
    from silo_node import __version__
    from silo_node.doctor.network import check_versions

    with session_of(context).hub() as hub:
        information = hub.information()
    finding = check_versions(information)
    answer = {
        "node": __version__,
        "hub": information.version,
        "recommended_node": information.recommended_node,
        "hub_wire_versions": information.wire_versions,
        "verdict": finding.verdict,
    }
    target = f"'medsilo[silo]=={information.recommended_node or information.version}'"
    how = (
        ""
        if finding.verdict == "well"
        else f"\nUpgrade with: pip install --upgrade {target}\n"
        "then: systemctl restart silo-node. Running work goes on where it stopped."
    )
    show(answer, as_json=as_json, text=f"{finding.text}.{how}")
    if finding.verdict != "well":
        raise typer.Exit(EXIT_REFUSED)
