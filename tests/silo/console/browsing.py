"""A console as a browser meets it, for tests: its application with somebody signed in."""

import re

from flask.testing import FlaskClient

from silo_node.console.app import create_app
from silo_node.console.desk import Desk
from silo_node.console.guard import COOKIE
from silo_node.console.people import People
from silo_node.console.sessions import Sessions
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.state import Home

PERSON = "m.okafor"


def application(home: Home, *, hosts: frozenset[str] = frozenset({"localhost"})) -> tuple[FlaskClient, Desk]:
    """Return a client of a home's console, with nobody signed in."""
    console = Desk(home, People(home), Sessions(), hosts)
    return create_app(console).test_client(), console


def signed_in(home: Home) -> FlaskClient:
    """Return a client of a home's console with somebody signed in."""
    client, console = application(home)
    client.set_cookie(COOKIE, console.sessions.begin(PERSON))
    return client


def token(client: FlaskClient, path: str = "/health") -> str:
    """Return the form token of the client's session, as a page's form holds it."""
    found = re.search(r'name="form_token" value="([^"]+)"', client.get(path).text)
    assert found is not None
    return found.group(1)


def item(home: Home, kind: str) -> Item:
    journal = Journal(home)
    try:
        return next(found for found in Outbox(journal).items() if found.kind == kind)
    finally:
        journal.close()
