"""Routes about the one who asks."""

from flask import Blueprint

from federation_hub.accounts.messages import Me
from federation_hub.accounts.tables import Organisation, Person
from federation_hub.api import PERSON, current_actor, route
from federation_hub.services import services

blueprint = Blueprint("accounts", __name__)


@route(blueprint, "GET", "/me", returns=Me, roles=PERSON)
def me() -> Me:
    """Tell who the token belongs to."""
    actor = current_actor()
    with services().database.reading() as session:
        person = session.get_one(Person, actor.id)
        organisation = session.get_one(Organisation, person.organisation_id)
    return Me(
        person_id=person.id,
        name=person.name,
        organisation_id=organisation.id,
        organisation=organisation.name,
        roles=tuple(sorted(actor.roles)),
    )
