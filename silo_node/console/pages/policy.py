"""What this site refuses and lets through: every rule in a sentence, and the file it stands in."""

from flask import Blueprint, render_template

from silo_node.console.desk import desk
from silo_node.console.rules import rules
from silo_node.policy import load_policy
from silo_node.policy.words import consequences

blueprint = Blueprint("policy", __name__)


@blueprint.get("/policy")
def shown() -> str:
    """Show the rules as the next decision will read them."""
    file = desk().home.policy_file
    policy = load_policy(desk().home)
    return render_template(
        "policy.html", rules=rules(policy), notes=list(consequences(policy)), file=file, written=file.exists()
    )
