"""Pages of people: the door, one's own account, the dashboard, administration and the audit trail."""

from flask import Blueprint

from federation_hub.accounts import door
from federation_hub.accounts.pages import administration, dashboard, device, oidc, profile, sign_in, trail

blueprint = Blueprint("account", __name__)
blueprint.record(door.set_up)
for part in (sign_in, oidc, dashboard, profile, device, administration, trail):
    blueprint.register_blueprint(part.blueprint)
