"""Whether the process lives, and whether it can work: for a load balancer, a container or a person."""

from flask import Blueprint, Response
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from federation_hub.migrations.runner import is_current
from federation_hub.services import services
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("health", __name__)


@blueprint.get("/healthz")
def healthz() -> Response:
    """Answer while the process lives."""
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
def readyz() -> Response:
    """Answer 200 where database, schema and blobs are usable, else the problem ``unavailable``."""
    hub = services()
    try:
        with hub.database.reading() as session:
            session.execute(text("SELECT 1"))
            usable = is_current(session.connection())
    except SQLAlchemyError as error:
        raise MedSiloError("unavailable") from error
    if not usable or not hub.blobs.root.is_dir():
        raise MedSiloError("unavailable")
    return Response("ready\n", mimetype="text/plain")
