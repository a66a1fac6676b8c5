"""``silo-node privacy``: what de-identification does here, whether anything got past it, and the privacy ledger."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from silo_node.cli.session import Json, session_of, show, table

app = typer.Typer(no_args_is_help=True, help="De-identification, what must not be there, and what studies have cost.")


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


@app.command("ledger")
def ledger(
    context: typer.Context,
    cohort: Annotated[str | None, typer.Option(help="Only the lines of one cohort, by its id.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was told of each cohort's patients, what that has cost their privacy, and whether the chain holds.

    Epsilon is at the policy's `budget.delta`, over all studies, evaluations and questions, and the same people are
    counted through every cohort. What studies that were agreed to have yet to spend is promised. What is left is a
    plain subtraction; losses add up to less than their sum, so more may fit, and an approval tells exactly.

    Example: silo-node privacy ledger
    """
    from silo_node.policy import load_policy
    from silo_node.privacy.account import PrivacyAccount
    from silo_node.privacy.ledger import PrivacyLedger
    from silo_node.privacy.words import ACCOUNT_HEADINGS, LINE_HEADINGS, account_rows, budget_words, line_rows

    session = session_of(context)
    budget = load_policy(session.home).budget
    with session.journal() as journal:
        book = PrivacyLedger(journal)
        lines, last = book.verify()
        accounts = PrivacyAccount(session.home, journal).standings(budget.delta, cohort)
        entries = book.entries(cohort)
    text = "\n".join(
        [
            f"The chain of {lines} lines holds; {budget_words(budget)}.",
            "",
            table(list(ACCOUNT_HEADINGS), account_rows(budget, accounts)),
            "",
            table(list(LINE_HEADINGS), line_rows(entries)),
        ]
    )
    facts = {
        "lines": lines,
        "hash": last,
        "budget": budget.epsilon,
        "delta": budget.delta,
        "accounts": [asdict(one) for one in accounts],
        "entries": [asdict(entry) for entry in entries],
    }
    show(facts, as_json=as_json, text=text)
