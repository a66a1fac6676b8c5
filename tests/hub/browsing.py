"""A browser as far as the hub can tell: cookies, and the headers that say where a form stood."""

import re
from dataclasses import dataclass

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from federation_hub.accounts import invitations
from federation_hub.accounts.actors import SYSTEM
from federation_hub.accounts.service import new_person
from federation_hub.accounts.tables import Person
from federation_hub.db import now
from tests.hub.federation import Federation

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Visitor:
    """Somebody with a browser of their own."""

    http: FlaskClient

    def get(self, path: str, **arguments: object) -> TestResponse:
        """Open a page."""
        return self.http.get(path, headers={"Accept": "text/html", "Sec-Fetch-Site": "none"}, **arguments)

    def send(self, path: str, form: dict[str, object] | None = None, site: str = "same-origin") -> TestResponse:
        """Send a form that stands on a page of ``site``."""
        return self.http.post(path, data=form or {}, headers={"Accept": "text/html", "Sec-Fetch-Site": site})

    def sign_in(self, name: str, password: str = PASSWORD) -> TestResponse:
        """Sign in with a password."""
        return self.send("/sign-in", {"name": name, "password": password, "next": ""})

    @property
    def cookie(self) -> str | None:
        found = self.http.get_cookie("medsilo-session")
        return found.value if found else None


def visitor(app: Flask) -> Visitor:
    """Return a stranger's browser."""
    return Visitor(app.test_client())


def invited(federation: Federation, name: str, *roles: str, organisation: str = "University") -> str:
    """Add a person and return the one-time code."""
    with federation.services.database.session() as session:
        person = new_person(session, name=name, organisation=organisation, roles=roles)
        return invitations.invite(session, person, actor=SYSTEM, at=now()).code


def signed_in(federation: Federation, name: str, *roles: str, organisation: str = "University") -> Visitor:
    """Return the browser of a new person who has just set a password."""
    code = invited(federation, name, *roles, organisation=organisation)
    browser = visitor(federation.app)
    answer = browser.send("/join", {"code": code, "password": PASSWORD, "again": PASSWORD})
    assert answer.status_code == 303, answer.text
    return browser


def identifier(federation: Federation, name: str) -> str:
    """Return a person's id."""
    with federation.services.database.reading() as session:
        return session.scalars(select(Person.id).where(Person.name == name)).one()


def shown_token(page: TestResponse) -> str:
    """Return the token a page shows."""
    found = re.search(r'class="secret">(msp_\w+)<', page.text)
    assert found, page.text
    return found[1]
