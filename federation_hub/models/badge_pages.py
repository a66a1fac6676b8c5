"""A badge to put on another page: a model's score with its interval and its rank range, as a small picture."""

from flask import Blueprint, Response, request
from markupsafe import Markup
from sqlalchemy.orm import Session

from federation_hub.leaderboards.board import Board, Entry
from federation_hub.leaderboards.kept import board_of
from federation_hub.leaderboards.service import latest
from federation_hub.models.listing import benchmarks_of
from federation_hub.models.tables import Model
from federation_hub.services import services
from federation_hub.web.svg import element
from silo_node.web.formats import metric_name, score
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("badge_pages", __name__)
HEIGHT, LETTER, PADDING = 20, 6.6, 8
DARK, ACCENT, PAPER = "#1b1e22", "#0b626b", "#ffffff"


@blueprint.get("/badge/<digest>.svg")
def badge(digest: str) -> Response:
    """Draw the badge of a model; ``?benchmark=`` chooses which of its boards, by default the first."""
    with services().database.reading() as session:
        text = _text(session, digest, request.args.get("benchmark"))
    response = Response(drawn("MedSilo", text), mimetype="image/svg+xml")
    response.headers["Cache-Control"] = "public, max-age=300"
    # Other sites may show it: that is what it is for.
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.add_etag()
    return response.make_conditional(request)  # type: ignore[return-value]


def _text(session: Session, digest: str, wanted: str | None) -> str:
    model = session.get(Model, digest)
    benchmarks = [row for row in benchmarks_of(session, digest) if wanted in (None, row.name)]
    if model is None or model.state not in ("accepted", "withdrawn") or not benchmarks:
        raise MedSiloError("model-unknown")
    if model.state == "withdrawn":
        return "withdrawn"
    for row in benchmarks:
        snapshot = latest(session, row.name, row.version)
        board = board_of(snapshot) if snapshot is not None else None
        entry = next((found for found in board.entries if found.digest == digest), None) if board else None
        if board is not None and entry is not None:
            return said(board, entry)
    return "not ranked yet"


def said(board: Board, entry: Entry) -> str:
    """Return what a badge says of an entry: never a score without its interval, nor a rank without its range."""
    estimate = entry.estimate
    span = f" ({score(estimate.low)} to {score(estimate.high)})" if estimate.interval is not None else ""
    return f"{metric_name(board.metric)} {score(estimate.value)}{span}, rank {entry.rank_text} of {len(board.entries)}"


def drawn(label: str, text: str) -> Markup:
    """Return the badge: its colours are its own, because it stands on pages that are not ours."""
    left, right = (round(len(part) * LETTER + 2 * PADDING) for part in (label, text))
    width = left + right

    def letters(part: str, start: int, room: int) -> Markup:
        return element(
            "text",
            part,
            x=start + room / 2,
            y=14,
            fill=PAPER,
            text_anchor="middle",
            font_family="Verdana, DejaVu Sans, sans-serif",
            font_size=11,
            textLength=room - 2 * PADDING,
        )

    return element(
        "svg",
        element("title", f"{label}: {text}"),
        element("rect", width=left, height=HEIGHT, fill=DARK),
        element("rect", x=left, width=right, height=HEIGHT, fill=ACCENT),
        letters(label, 0, left),
        letters(text, left, right),
        xmlns="http://www.w3.org/2000/svg",
        width=width,
        height=HEIGHT,
        viewBox=f"0 0 {width} {HEIGHT}",
        role="img",
    )
