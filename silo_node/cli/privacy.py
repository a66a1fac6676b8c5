"""``silo-node privacy``: what de-identification does here, and whether anything got past it."""

from datetime import UTC, datetime

import typer

from silo_node.cli.session import Json, session_of, show

app = typer.Typer(no_args_is_help=True, help="Report on de-identification, and search for what must not be there.")


@app.command("report")
def report(context: typer.Context, as_json: Json = False) -> None:
    """Write the de-identification report: profile, options, counts, what was flagged; a page to print and sign.

    Example: silo-node privacy report
    """
    from silo_node.reports.files import write_report
    from silo_node.reports.privacy import privacy_page, privacy_report

    home = session_of(context).home.create()
    found = privacy_report(home, now=datetime.now(UTC))
    path = write_report(home, "privacy", privacy_page(found), found.document())
    facts = {**found.document(), "page": str(path)}
    flagged = sum(found.pixel_risks_refused.values())
    text = (
        f"{found.cases} cases of {found.patients} patients; {sum(found.refused.values())} refused, {flagged} pixel"
        f" risks flagged; {len(found.searched.findings)} of {found.searched.files} files outside the private store"
        f" hold a text of a source.\nTo print and sign: {path}"
    )
    show(facts, as_json=as_json, text=text)


@app.command("search")
def search(context: typer.Context, as_json: Json = False) -> None:
    """Search every file outside the private store for the names, numbers, dates and texts of every case taken in.

    Tells which files, and never what was found in them. A date of today in a log may be a study's date as well.

    Example: silo-node privacy search
    """
    from silo_node.reports.privacy import search_outside

    found = search_outside(session_of(context).home.create())
    facts = {"files": found.files, "bytes": found.size, "findings": list(found.findings)}
    lines = [f"{found.files} files searched; {len(found.findings)} hold a text of a source.", *found.findings]
    show(facts, as_json=as_json, text="\n".join(lines))
    if found.findings:
        raise typer.Exit(1)
