"""``medsilo token``: one's own tokens for programs."""

from pathlib import Path
from typing import Annotated

import typer

from federation_hub.client.cli.session import AsJson, session
from federation_hub.client.device_login import keep_token
from federation_hub.client.terminal import output, print_json, print_table
from silo_node.wire.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="Your tokens for programs: list, make and revoke them.")


@app.command(name="list")
def list_tokens(context: typer.Context, as_json: AsJson = False) -> None:
    """List your tokens that work, the newest first. Their secrets are nowhere kept.

    Example: `medsilo token list`
    """
    found = session(context).connect().tokens()
    if as_json:
        print_json(found)
        return
    columns = ["token", "name", "may act as", "made", "good until"]
    rows = [
        [row["token_id"], row["name"], ", ".join(row["scopes"]), row["created"][:10], (row["expires"] or "–")[:10]]
        for row in found
    ]
    print_table(columns, rows)


@app.command()
def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What it is for, to know it again in the list.")],
    scope: Annotated[
        list[str] | None, typer.Option(help="A role it shall have; all of the present token's where none is named.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How long it is good.")] = 90,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file, which only you can read, and print nothing of it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token, no wider and no longer than the one you use now, and show it this once.

    Example: `medsilo token new "nightly checks" --scope reader --days 30 --out ~/checks.token`
    """
    if out is not None and out.expanduser().exists():
        raise BadInput("already-exists", str(out))
    made = session(context).connect().make_token(name, scopes=scope or [], days=days)
    if out is not None:
        keep_token(made.pop("token"), out.expanduser())
    if as_json:
        print_json(made)
    elif out is not None:
        output().print(f"{made['view']['token_id']} is in {out}", markup=False, soft_wrap=True)
    else:
        typer.echo(made["token"])


@app.command()
def revoke(
    context: typer.Context,
    token: Annotated[str, typer.Argument(help="The token's id, as `token list` shows it; never the token itself.")],
    as_json: AsJson = False,
) -> None:
    """Let a token of yours work no longer, at once.

    Example: `medsilo token revoke tok-7h2j5k8m3n4p`
    """
    session(context).connect().revoke_token(token)
    if as_json:
        print_json({"token_id": token, "revoked": True})
    else:
        output().print(f"{token} works no longer.", markup=False)
