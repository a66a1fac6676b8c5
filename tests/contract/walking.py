"""Every route of a filled hub, called by everybody: who gets which status. Whatever a call changed is put back."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from federation_hub.accounts import sessions
from federation_hub.accounts.actors import ROLES
from federation_hub.accounts.service import add_person
from federation_hub.accounts.tables import Person, PersonIdentity, Token
from federation_hub.app import build_services, create_app
from federation_hub.associations.tables import Association
from federation_hub.config import HubConfig
from federation_hub.db import now
from federation_hub.evaluations.tables import Evaluation
from federation_hub.evaluations.tables import Task as TaskRow
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.models.tables import Model
from federation_hub.services import Services
from federation_hub.silos.keys import new_silo_token
from federation_hub.silos.tables import Cohort, Silo
from federation_hub.storage.tables import Upload
from federation_hub.studies.tables import Study
from silo_node.wire.versions import CURRENT, HEADER
from tests.hub.showcase import PRETENDERS

CALLERS = ("anonymous", *ROLES, "stranger", "silo", "other-silo")
"""``stranger`` has every role but the admin's, in an organisation nothing belongs to; ``silo`` is the hospital whose
things the addresses name, and so are ``data-steward`` and the other roles of its organisation."""

_PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")


@dataclass(frozen=True)
class Caller:
    """Somebody with a token for the API and a cookie for the pages."""

    token: str | None = None
    cookie: str | None = None


class Walk:
    """A filled hub with one caller of each kind."""

    def __init__(self, home: Path, **settings: int) -> None:
        self._home, self._settings = home, settings
        self.app, self._services = self._open()
        with self._services.database.reading() as session:
            silos = session.scalars(select(Silo).order_by(Silo.name)).all()
            self.silo, self.other = silos[0], silos[1]
        self.callers = self._everybody()
        self.ids = self._ids()
        self._services.database.close()
        shutil.copy(home / "hub.sqlite", home / "pristine")

    def rules(self) -> list[tuple[str, str]]:
        """Return every route as method and rule, in a fixed order."""
        return sorted(
            (method, rule.rule)
            for rule in self.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        )

    def call(self, method: str, rule: str, name: str) -> TestResponse:
        """Call a route with the addresses of things that are there and an empty body; then undo what it did."""
        path = self.path(rule)
        caller, client = self.callers[name], self.app.test_client()
        headers = {HEADER: str(CURRENT), "Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        if path.startswith("/api/"):
            headers |= {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
            answer = client.open(path, method=method, headers=headers, json={}, buffered=True)
        else:
            if caller.cookie:
                client.set_cookie("medsilo-session", caller.cookie)
            answer = client.open(path, method=method, headers=headers, buffered=True)
        if method != "GET" and answer.status_code < 400:
            self._restore()
        return answer

    def path(self, rule: str) -> str:
        """Return the address of a rule with the ids of things that are there."""
        kind = next(
            (part for part in rule.split("/") if part in ("models", "snapshots", "badge", "blobs", "assets")), ""
        )
        return _PARAMETER.sub(lambda found: self.ids.get(f"{kind}.{found[2]}") or self.ids.get(found[2], "none"), rule)

    def close(self) -> None:
        """Close the hub."""
        self._services.database.close()

    def _open(self) -> tuple[Flask, Services]:
        config = HubConfig.model_validate({"home": self._home, "lease_seconds": 30, **self._settings})
        services = build_services(config)
        return create_app(config, services=services), services

    def _restore(self) -> None:
        self._services.database.close()
        for suffix in ("-wal", "-shm"):
            (self._home / f"hub.sqlite{suffix}").unlink(missing_ok=True)
        shutil.copy(self._home / "pristine", self._home / "hub.sqlite")

    def _everybody(self) -> dict[str, Caller]:
        homes = dict.fromkeys(ROLES, self.silo.name + " Hospital")
        found = {"anonymous": Caller()}
        with self._services.database.session() as session:
            everybody: dict[str, list[str]] = {**{role: [role] for role in ROLES}, "stranger": list(ROLES[:-1])}
            for name, roles in everybody.items():
                home = homes.get(name, "Elsewhere")
                token = add_person(session, name=f"The {name}", organisation=home, roles=roles)
                person = session.scalars(select(Person).where(Person.name == f"The {name}")).one()
                cookie = sessions.begin(session, person, replaces=None, how="password", at=now())
                found[name] = Caller(token, cookie)
            for name, silo in (("silo", self.silo), ("other-silo", self.other)):
                found[name] = Caller(new_silo_token(session, silo.id, timedelta(days=1))[0])
        return found

    def _ids(self) -> dict[str, str]:
        """Return the ids of things of the first hospital, by the name of the address' part."""
        with self._services.database.session() as session:
            steward = session.scalars(select(Person).where(Person.name == "The data-steward")).one()
            identity = PersonIdentity(person_id=steward.id, issuer="https://login.example", subject="steward")
            session.add(identity)
            session.flush()
            mine = Silo.id == self.silo.id

            def first(column: object, *conditions: object) -> str:
                return str(session.scalars(select(column).where(*conditions)).first())  # type: ignore[call-overload]

            model = first(Model.digest, Model.card["name"].as_string() == PRETENDERS[0].name)
            return {
                "name": "chest_phantom",
                "version": "1",
                "silo_id": self.silo.id,
                "event": "suspend",
                "person_id": steward.id,
                "identity_id": identity.id,
                "token_id": first(Token.id, Token.person_id == steward.id),
                "cohort_id": first(Cohort.id, Cohort.silo_id == self.silo.id),
                "association_id": first(Association.id, Association.silo_id == self.silo.id),
                "evaluation_id": first(Evaluation.id),
                "task_id": first(TaskRow.id, TaskRow.silo_id == self.silo.id),
                "study_id": first(Study.id),
                "upload_id": first(Upload.id),
                "models.digest": model,
                "badge.digest": model,
                "blobs.digest": model,
                "snapshots.model": model,
                "snapshots.digest": first(Snapshot.digest, Snapshot.superseded_by.is_(None)),
                "tag": "x",
                "assets.name": "style.css",
                "organisation": first(Silo.name, mine),
            }


def walk(home: Path, **settings: int) -> Iterator[Walk]:
    """Yield a walk over the hub in a folder."""
    found = Walk(home, **settings)
    yield found
    found.close()
