"""Numbers for a monitoring system, in Prometheus' format: how many requests, how long, and how much there is of what.

Only aggregated numbers: a route is told by its rule, never by its address, and nothing names a person, a hospital or a
model. Each process of a hub counts its own requests; what is counted in the database is the same from all.
"""

import ipaddress
from collections.abc import Iterable

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute

from federation_hub.db import Database
from federation_hub.evaluations.tables import EstimateBlockRow, Task
from federation_hub.leaderboards.revisions import outdated
from federation_hub.models.tables import Model
from federation_hub.services import EXTENSION as SERVICES
from federation_hub.services import Services, services
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study
from silo_node.wire.errors import MedSiloError

EXTENSION = "medsilo.metrics"
_BUCKETS = (0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30)
_REPORT_BYTES = 64 * 1024
_STATES: tuple[tuple[str, str, InstrumentedAttribute[str]], ...] = (
    ("medsilo_silos", "Silos by state", Silo.state),
    ("medsilo_models", "Models by state", Model.state),
    ("medsilo_studies", "Studies by state", Study.state),
    ("medsilo_tasks", "Tasks by state", Task.state),
    ("medsilo_result_blocks", "Result blocks by state", EstimateBlockRow.state),
)
blueprint = Blueprint("metrics", __name__)


class Meter:
    """What one process has answered."""

    def __init__(self, database: Database) -> None:
        self.registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self._requests = Counter("medsilo_requests", "Requests answered", labels, registry=self.registry)
        self._seconds = Histogram(
            "medsilo_request_seconds",
            "Time to an answer",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.refused_content = Counter(
            "medsilo_csp_reports", "Reports of browsers that refused content of a page", registry=self.registry
        )
        self.registry.register(_Stock(database))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer, by the route's rule."""
        # A method may be anything a client writes; a label may not.
        method = method if method in ("GET", "HEAD", "POST", "PATCH", "OPTIONS") else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class _Stock:
    """Counts rows of the database when it is asked, in one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering asks no database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Return how many there are of each kind in each state."""
        with self._database.reading() as session:
            for name, text, state in _STATES:
                family = GaugeMetricFamily(name, text, labels=("state",))
                for value, count in session.execute(select(state, func.count()).group_by(state)):
                    family.add_metric([value], count)
                yield family
            behind = session.scalar(select(func.count()).select_from(outdated().subquery())) or 0
            yield GaugeMetricFamily("medsilo_boards_outdated", "Boards that wait to be computed", value=behind)


def install(app: Flask) -> None:
    """Give an application its meter; two threads that made it at their first request would count apart."""
    found: Services = app.extensions[SERVICES]
    app.extensions[EXTENSION] = Meter(found.database)


def meter() -> Meter:
    """Return the meter of the application that handles this request."""
    found: Meter = current_app.extensions[EXTENSION]
    return found


@blueprint.get("/metrics")
def metrics() -> Response:
    """Show the numbers to whom the settings let read them."""
    allowed = services().config.metrics
    if allowed == "off" or (allowed == "local" and not _is_local(request.remote_addr)):
        raise MedSiloError("not-found")
    return Response(generate_latest(meter().registry), content_type=CONTENT_TYPE_LATEST)


@blueprint.post("/csp-reports")
def csp_report() -> Response:
    """Count what a browser refused to load or run; what it sends is not kept, since anybody may send anything."""
    request.max_content_length = _REPORT_BYTES
    request.get_data(cache=False)
    meter().refused_content.inc()
    return Response(status=204)


def _is_local(address: str | None) -> bool:
    try:
        return address is not None and ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
