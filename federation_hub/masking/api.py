"""Routes of masked rounds: a silo's statements, and what it is shown."""

from flask import Blueprint

from federation_hub.api import SILO, current_actor, route
from federation_hub.masking import service
from federation_hub.services import services
from silo_node.wire.envelope import Envelope
from silo_node.wire.masking import MaskingView

blueprint = Blueprint("masking", __name__)


@route(blueprint, "GET", "/tasks/<task_id>/masking", returns=MaskingView, roles=SILO)
def masking(task_id: str) -> MaskingView:
    """Show a silo the stage of its group in a masked round, and what it needs for its next step."""
    with services().database.reading() as session:
        return service.view(session, task_id, current_actor())


@route(blueprint, "POST", "/tasks/<task_id>/masking", body=Envelope, roles=SILO)
def state_masking(task_id: str, body: Envelope) -> None:
    """Take a silo's signed keys, shares, confirmation or opening in a masked round."""
    hub = services()
    with hub.database.session() as session:
        study_id = service.receive(session, task_id, body, current_actor())
    if hub.engine is not None:
        hub.engine.notify(study_id)
