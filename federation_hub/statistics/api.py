"""Routes of statistics about cohorts."""

from flask import Blueprint

from federation_hub.api import current_actor, route
from federation_hub.services import services
from federation_hub.statistics import service
from federation_hub.statistics.messages import StatisticsRequest, StatisticsView

blueprint = Blueprint("statistics", __name__)
_ASKING = {"researcher", "benchmark-owner", "hub-admin"}


@route(blueprint, "POST", "/statistics", body=StatisticsRequest, returns=StatisticsView, status=201, roles=_ASKING)
def ask(body: StatisticsRequest) -> StatisticsView:
    """Ask every silo with a cohort for a benchmark how its patients divide."""
    with services().database.session() as session:
        return service.view(session, service.ask(session, body, actor=current_actor()))


@route(blueprint, "GET", "/statistics/<query_id>", returns=StatisticsView, roles=_ASKING)
def statistics(query_id: str) -> StatisticsView:
    """Show what the answers to a question come to so far."""
    with services().database.reading() as session:
        return service.view(session, service.query_of(session, query_id, current_actor()))
