"""Lists on pages: a screenful, and a link to what comes after it."""

from flask import request
from pydantic import ValidationError

from federation_hub.errors import MalformedMessage
from federation_hub.paging import PageQuery

SHOWN = 100


def asked_page(rows: int = SHOWN) -> PageQuery:
    """Return which page of its list a page was asked for; raises ``malformed-message``."""
    try:
        return PageQuery(limit=rows, cursor=request.args.get("cursor") or None)
    except ValidationError:
        raise MalformedMessage(fields=("cursor",)) from None
