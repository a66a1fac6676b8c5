"""Is all well: what the doctor found last, and a button to look again."""

from flask import Blueprint, redirect, render_template
from werkzeug.wrappers import Response as AnyResponse

from silo_node.console.desk import desk, signed_in
from silo_node.doctor import examine, keep_report, last_report

blueprint = Blueprint("health", __name__)


@blueprint.get("/health")
def shown() -> str:
    """Show the last report."""
    return render_template("health.html", report=last_report(desk().home))


@blueprint.post("/health/check")
def check() -> AnyResponse:
    """Examine the node now; this takes some seconds."""
    report = keep_report(desk().home, examine(desk().home))
    bad = len(report.failed)
    signed_in().notice = (
        "All checks are well." if not bad else f"{bad} {'check has' if bad == 1 else 'checks have'} failed."
    )
    return redirect("/health", 303)
