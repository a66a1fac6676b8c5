"""``silo-node policy``: read and check the site's rules."""

import typer

from silo_node.cli.session import Json, session_of, show

app = typer.Typer(no_args_is_help=True, help="Read and check this site's rules.")


@app.command("show")
def show_policy(context: typer.Context, as_json: Json = False) -> None:
    """Show every rule as it stands, also those that are not written in policy.toml.

    Example: silo-node policy show
    """
    from silo_node.policy import load_policy

    home = session_of(context).home
    rules = load_policy(home).model_dump(mode="json")
    source = str(home.policy_file) if home.policy_file.exists() else "no policy.toml: these are the defaults"
    lines = [f"# {source}"]
    lines += [f"{name} = {_toml(value)}" for name, value in rules.items() if not isinstance(value, dict)]
    for section, values in rules.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{name} = {_toml(value)}" for name, value in values.items())]
    show(rules, as_json=as_json, text="\n".join(lines))


@app.command("check")
def check_policy(context: typer.Context, as_json: Json = False) -> None:
    """Check that policy.toml is valid.

    Example: silo-node policy check
    """
    from silo_node.policy import load_policy

    home = session_of(context).home
    load_policy(home)
    there = home.policy_file.exists()
    text = f"{home.policy_file} is valid." if there else "There is no policy.toml: nothing is taken part in."
    show({"valid": True, "file": str(home.policy_file) if there else None}, as_json=as_json, text=text)


def _toml(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)
