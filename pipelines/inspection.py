"""The inspect job: the static judgement of bundles, in a jail of its own and before anything of them is built.

The same look the hub takes at a submission, taken again by the side whose machine will run it. It needs no torch.
"""

from pipelines.bundles import inspect_bundle
from pipelines.errors import PipelineError
from pipelines.job import Inspected, InspectJob, ModelFile, Verdict


def inspect_models(job: InspectJob) -> None:
    """Judge every bundle of a job and write ``inspected.json``; a bad bundle is a verdict, not a failure."""
    found = Inspected(models=tuple(_verdict(model, job) for model in job.models))
    partial = job.out / "inspected.json.partial"
    partial.write_text(found.model_dump_json())
    partial.replace(job.out / "inspected.json")


def _verdict(model: ModelFile, job: InspectJob) -> Verdict:
    try:
        inspection = inspect_bundle(model.path, job.definition)
    except PipelineError as error:
        return Verdict(digest=model.digest, code=error.code, tier=None)
    except Exception:
        # A file made to break its reader must not end the judgement of the others, and is refused as what it is.
        return Verdict(digest=model.digest, code="bundle-invalid", tier=None)
    return Verdict(digest=model.digest, code=None, tier=inspection.tier, container=inspection.container)
