"""``silo-node policy``: read, check and explain the site's rules."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from silo_node.cli.session import Json, Session, session_of, show

if TYPE_CHECKING:
    from silo_node.policy.words import Explanation

app = typer.Typer(no_args_is_help=True, help="Read, check and explain this site's rules.")


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
    """Check that policy.toml is valid, and say what it comes to where it is less careful than the default.

    Example: silo-node policy check
    """
    from silo_node.policy import load_policy
    from silo_node.policy.words import consequences

    home = session_of(context).home
    notes = list(consequences(load_policy(home)))
    there = home.policy_file.exists()
    text = f"{home.policy_file} is valid." if there else "There is no policy.toml: nothing is taken part in."
    value = {"valid": True, "file": str(home.policy_file) if there else None, "notes": notes}
    show(value, as_json=as_json, text="\n".join([text, *(f"- {note}" for note in notes)]))


@app.command("schema")
def show_schema(context: typer.Context) -> None:
    """Print the schema of policy.toml as JSON Schema, for editors that complete and check while you write.

    Example: silo-node policy schema > policy.schema.json
    """
    from silo_node.policy import Policy

    show(Policy.model_json_schema(), as_json=True, text="")


@app.command("explain")
def explain_policy(
    context: typer.Context,
    request: Annotated[
        str | None, typer.Argument(help="A task's id from `status`, or a study's id. Without it: the options.")
    ] = None,
    benchmark: Annotated[str | None, typer.Option(help="The benchmark an evaluation or study would be of.")] = None,
    organisation: Annotated[str, typer.Option(help="The organisation that asks.")] = "",
    person: Annotated[str, typer.Option(help="The person who asks for a study.")] = "",
    purpose: Annotated[str, typer.Option(help="What it is for.")] = "",
    cases: Annotated[int, typer.Option(help="Cases of the cohort.")] = 100,
    tier: Annotated[int, typer.Option(help="The model's tier.")] = 1,
    study: Annotated[str | None, typer.Option(help="A study's name: explain joining it, not an evaluation.")] = None,
    as_json: Json = False,
) -> None:
    """Say which rule decides about a request, and what every rule before it found; of an evaluation, for each model.

    A no to one model leaves the others served. A model's tier is found in the jail, so for a task that was answered the
    code of the answer stands beside.

    Example: silo-node policy explain --benchmark chest_phantom --organisation "Example University"
    """
    from silo_node.policy.words import explained, explanation
    from silo_node.wire.errors import BadInput

    session = session_of(context)
    if request is not None:
        found = _about(session, request)
    elif benchmark is None:
        raise BadInput("malformed-message", "name a task, or a --benchmark")
    else:
        found = _imagined(session, benchmark, organisation, person, purpose, cases, tier, study)
    show(explanation(found), as_json=as_json, text=explained(found))


def _about(session: Session, request: str) -> "Explanation":
    """Decide anew about something that was asked of this node."""
    from silo_node.agent.asked import explain

    with session.journal() as journal:
        return explain(session.home, session.identity, journal, request)


def _imagined(
    session: Session,
    benchmark: str,
    organisation: str,
    person: str,
    purpose: str,
    cases: int,
    tier: int,
    study: str | None,
) -> "Explanation":
    from silo_node.policy import (
        AskedModel,
        Asker,
        EvaluationRequest,
        decide_consent,
        decide_models,
        decide_question,
        load_policy,
    )
    from silo_node.policy.budget import Ledger
    from silo_node.policy.examples import example_plan
    from silo_node.policy.words import ExplainedModel, Explanation

    policy = load_policy(session.home)
    if study is not None:
        plan = example_plan(study, benchmark, purpose or "research")
        return Explanation(decide_consent(policy, plan, cases, Asker(organisation, person)))
    whole = decide_question(policy, EvaluationRequest(benchmark, cases, (), (), purpose or "benchmarking"))
    with session.journal() as journal:
        spent = Ledger(journal).spent()
    (decision,) = decide_models(policy, benchmark, [AskedModel("", organisation, tier)], spent).values()
    return Explanation(whole, (ExplainedModel("", organisation, decision),))


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
