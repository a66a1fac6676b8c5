"""Where a person lets a program act for them: the other half of ``medsilo login``."""

from flask import Blueprint, Response, make_response, request

from federation_hub.accounts import devices
from federation_hub.accounts.browser import read_form, signed_in
from federation_hub.accounts.door import guessed_wrong, require_patience
from federation_hub.accounts.pages.forms import Approval
from federation_hub.api import current_actor
from federation_hub.db import now
from federation_hub.services import services
from federation_hub.web.rendering import page
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("device", __name__)


@signed_in(blueprint, "GET", "/device")
def device() -> Response:
    """Ask for the code that the program shows."""
    return _asking(request.args.get("code", "")[:20])


@signed_in(blueprint, "POST", "/device")
def decide_device() -> Response:
    """Approve or refuse."""
    form, actor = read_form(Approval), current_actor()
    # Codes are short; nobody shall find those of others by trying.
    require_patience(actor.id)
    try:
        with services().database.session() as session:
            devices.decide(session, form.code, approve=form.approve, actor=actor, at=now())
    except MedSiloError as error:
        if error.code == "device-code-unknown":
            guessed_wrong(actor.id)
        return make_response(page("account/device.html", code="", wrong=error, scopes=[], done=None), error.status)
    done = "approved" if form.approve else "denied"
    return make_response(page("account/device.html", code="", wrong=None, scopes=[], done=done))


def _asking(code: str) -> Response:
    scopes: list[str] = []
    if code:
        try:
            with services().database.reading() as session:
                asked = devices.waiting(session, code, now()).scopes
            scopes = devices.scopes_for(asked, current_actor().roles)
        except MedSiloError:
            # The page asks for the code again; trying is counted where it could succeed.
            scopes = []
    return make_response(page("account/device.html", code=code, wrong=None, scopes=scopes, done=None))
