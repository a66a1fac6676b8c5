"""The claim sheet of a study for people to read, to print and to hand to a reviewer."""

from flask import Blueprint

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.services import services
from federation_hub.studies.service import plan_of
from federation_hub.studies.tables import Study
from federation_hub.web.rendering import link, page
from silo_node.wire.claims import claim_sheet
from silo_node.wire.errors import MedSiloError

blueprint = Blueprint("claim_pages", __name__)


@blueprint.get("/studies/<study_id>/privacy")
def claims(study_id: str) -> str:
    """Show what a study's differential privacy is worth, in the terms of NIST SP 800-226."""
    with services().database.reading() as session:
        found = session.get(Study, study_id)
        if found is None or found.state == "draft":
            raise MedSiloError("study-unknown")
        plan = plan_of(found)
        provenance = session.get_one(Benchmark, found.benchmark_id).definition["provenance"]
    return page(
        "claims.html",
        provenance_of=provenance,
        back=link("studies", study_id),
        title=plan.title,
        sheet=claim_sheet(plan),
    )
