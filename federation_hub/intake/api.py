"""The route by which a silo reads what the hub says it has received from it."""

from typing import Annotated

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field

from federation_hub.api import SILO, current_actor, route
from federation_hub.services import services
from silo_node.wire.intake import IntakeLog

blueprint = Blueprint("intake", __name__)


class After(BaseModel):
    """From where on."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    after: Annotated[int, Field(ge=0)] = 0


@route(blueprint, "GET", "/silo/intake-log", query=After, returns=IntakeLog, roles=SILO, inactive_silos=True)
def intake_log(query: After) -> IntakeLog:
    """List every request body of the asking silo that arrived here, oldest first, a thousand at a time."""
    return services().intake.read(current_actor().id, query.after)
