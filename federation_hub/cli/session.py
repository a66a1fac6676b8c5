"""What the operator's commands share: the home folder, the hub's services, and how results are shown."""

import fcntl
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import BaseModel
from sqlalchemy import select

from federation_hub.accounts.actors import Actor
from federation_hub.accounts.service import ADMIN, ensure_admin
from federation_hub.accounts.tables import Person
from federation_hub.app import build_services
from federation_hub.config import HubConfig, load_config
from federation_hub.migrations.runner import migrate
from federation_hub.services import Services
from silo_node.wire.errors import MedSiloError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@dataclass
class Session:
    """One command's hub: its home folder, and its services with a migrated database."""

    home: Path

    @cached_property
    def config(self) -> HubConfig:
        return load_config(self.home)

    @contextmanager
    def services(self) -> Iterator[Services]:
        """Yield the hub's services, with the database migrated and the first admin made."""
        services = build_services(self.config)
        try:
            migrate(services.database)
            ensure_admin(services.config, services.database)
            yield services
        finally:
            services.database.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the home folder's one engine; raises ``state-locked`` where another process has it.

        The lock goes with the process, however it ends. On PostgreSQL workers take turns by their own leases.
        """
        if not self.config.database.startswith("sqlite"):
            yield
            return
        self.config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.config.home / "engine.lock").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise MedSiloError("state-locked", f"a hub runs on {self.config.home}") from error
            yield


def operator(services: Services) -> Actor:
    """Return the hub's admin, in whose name the command line acts."""
    with services.database.reading() as session:
        person = session.scalars(select(Person).where(Person.name == ADMIN)).one()
        return Actor("person", person.id, frozenset(person.roles), person.organisation_id)


def show(value: dict[str, Any] | BaseModel, *, as_json: bool, text: str) -> None:
    """Print a result: one JSON document, or what a person wants to read."""
    plain = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    typer.echo(json.dumps(plain, indent=2, default=str) if as_json else text)


def fail(error: MedSiloError, *, as_json: bool) -> NoReturn:
    """End the command with an error's code, what it is about, and what to do."""
    if as_json:
        problem = {"code": error.code, "title": error.title, "detail": error.detail, "hint": error.hint}
        typer.echo(json.dumps(problem), err=True)
    else:
        typer.echo(f"{error}\n{error.hint}", err=True)
    sys.exit(1)
