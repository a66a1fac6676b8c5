"""``silo-node console``: this site's own pages, on this machine only."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from silo_node.cli.session import Json, Session, session_of, show

if TYPE_CHECKING:
    from silo_node.console.people import People

PORT = 8751


def console(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1; 0 takes a free one.", min=0, max=65535)] = PORT,
    link: Annotated[
        bool, typer.Option("--link", help="Only make a one-time link for a console that runs already.")
    ] = False,
    set_password: Annotated[
        bool, typer.Option("--set-password", help="Only set your own password; it is asked for.")
    ] = False,
    drop_password: Annotated[str | None, typer.Option(help="Only take this person's password away.")] = None,
    ready_file: Annotated[Path | None, typer.Option(help="Written once the console listens.")] = None,
    as_json: Json = False,
) -> None:
    """Serve the console on 127.0.0.1 and print a one-time link to it. Ends with Ctrl-C.

    It shows what you hold, what is asked of you with exactly what would leave, what is running, what left, your policy,
    and the doctor. It is a process of its own; the node runs with or without it. From another machine, open a tunnel:
    ssh -L 8751:127.0.0.1:8751 THIS-MACHINE

    Links and passwords are for your own account of this machine, which is the name that stands on what you release.

    Example: silo-node console
    """
    from silo_node.console.people import People, own_name

    session = session_of(context)
    people, name = People(session.home.create()), own_name()
    if link:
        _link(session, people, name, port, as_json=as_json)
    elif set_password:
        people.set_password(name, typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
        show({"person": name, "password": "set"}, as_json=as_json, text=f"{name} can sign in with the password.")
    elif drop_password is not None:
        people.drop(drop_password)
        text = f"{drop_password} can no longer sign in with a password."
        show({"person": drop_password, "password": "none"}, as_json=as_json, text=text)
    else:
        _serve(session, people, name, port, ready_file, as_json=as_json)


def _serve(session: Session, people: "People", name: str, port: int, ready_file: Path | None, *, as_json: bool) -> None:
    from silo_node.console.server import serve

    def announce(url: str) -> None:
        address = _address(url, people.new_link(name))
        text = f"The console is at {url}. This link lets {name} in once, for 15 minutes:\n\n  {address}\n"
        show({"url": url, "link": address, "person": name}, as_json=as_json, text=text)

    serve(session.home, port, announce, ready_file)


def _link(session: Session, people: "People", name: str, port: int, *, as_json: bool) -> None:
    running = session.home.console_address
    url = running.read_text("utf-8") if running.exists() else f"http://127.0.0.1:{port}"
    address = _address(url, people.new_link(name))
    show({"url": url, "link": address, "person": name}, as_json=as_json, text=address)


def _address(url: str, key: str) -> str:
    return f"{url}/sign-in?key={key}"
