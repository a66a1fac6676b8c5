"""The audit trail on a page and as CSV."""

from urllib.parse import urlencode

from flask import Blueprint, Response, request
from pydantic import ValidationError

from federation_hub.accounts import trail
from federation_hub.accounts.browser import signed_in
from federation_hub.accounts.trail import READERS, TrailQuery
from federation_hub.api import current_actor
from federation_hub.errors import MalformedMessage, declared_fields
from federation_hub.services import services
from federation_hub.web.rendering import page

ROWS = 100
MOST_ROWS = 100_000
blueprint = Blueprint("trail", __name__)


@signed_in(blueprint, "GET", "/audit", roles=READERS)
def audit() -> str:
    """Show who did what and when, the newest first."""
    query = _query()
    with services().database.reading() as session:
        found = trail.read(session, current_actor(), query)
        lines = trail.views(session, found.rows)
    asked = {name: value for name, value in request.args.items() if value and name not in ("cursor", "limit")}
    older = urlencode({**asked, "cursor": found.next}) if found.next else None
    return page("account/audit.html", lines=lines, query=query, older=older, filter=urlencode(asked))


@signed_in(blueprint, "GET", "/audit.csv", roles=READERS)
def audit_csv() -> Response:
    """Give the lines a filter leaves to a spreadsheet."""
    query, rows = _query(), []
    with services().database.reading() as session:
        for row in trail.every(session, current_actor(), query):
            rows.append(row)
            if len(rows) == MOST_ROWS:
                break
        text = trail.as_csv(trail.views(session, rows))
    response = Response(text, mimetype="text/csv")
    response.headers["Content-Disposition"] = "attachment; filename=audit.csv"
    return response


def _query() -> TrailQuery:
    values = {name: value for name, value in request.args.items() if value}
    try:
        return TrailQuery.model_validate_strings({"limit": str(ROWS), **values})
    except ValidationError as error:
        raise MalformedMessage(fields=declared_fields(error, TrailQuery)) from None
