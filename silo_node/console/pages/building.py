"""Building a cohort in the browser: the form, and the page that shows how far it is and what came of it."""

from collections.abc import Mapping
from typing import Any

from flask import Blueprint, make_response, redirect, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from silo_node.benchmarks import kept_benchmarks
from silo_node.catalogue import Catalogue
from silo_node.console.build_form import RANGES, asked_build
from silo_node.console.builds import LABELS_LIMIT, Build, begin, last_build, now
from silo_node.console.desk import desk, signed_in
from silo_node.console.words import time_left
from silo_node.deidentify.attributes import VOCABULARY
from silo_node.reports.files import read_report
from silo_node.reports.reasons import left_out
from silo_node.wire.errors import PROBLEMS, BadInput, MedSiloError

blueprint = Blueprint("building", __name__)


@blueprint.get("/cohorts/new")
def form() -> str:
    """Show the form."""
    return _form(MultiDict(), None)


@blueprint.post("/cohorts/new")
def start() -> AnyResponse:
    """Begin to build what the form asks for, or show it again with what is wrong with it."""
    try:
        labels = _labels()
        kept, collections = dict(kept_benchmarks(desk().home)), _collections()
        person = signed_in().person
        build = asked_build(request.form, kept, collections, labels=labels is not None, person=person, at=now())
        begin(desk().home, build, labels)
    except MedSiloError as error:
        return make_response(_form(request.form, error), error.status)
    return redirect("/cohorts/build", 303)


@blueprint.get("/cohorts/build")
def shown() -> str:
    """Show how far the build is, or what came of it."""
    return render_template("build.html", **_view())


@blueprint.get("/cohorts/build/live")
def live() -> str:
    """Return the part of the page that changes by itself."""
    return render_template("build_live.html", **_view())


def quality_of(cohort_id: str) -> dict[str, Any] | None:
    """Return what a cohort's report says of its quality and of what was left out; None where there is no report."""
    found = read_report(desk().home, cohort_id)
    if found is None:
        return None
    steps = [{**step, "words": left_out(step["reason"])} for step in found["steps"]]
    return {
        **found["quality"],
        "steps": [step for place, step in enumerate(steps) if place == 0 or step["left_out"]],
        "report": desk().home.reports / f"{cohort_id}.html",
    }


def _form(values: "MultiDict[str, str]", wrong: MedSiloError | None) -> str:
    return render_template(
        "cohort_new.html",
        values=values,
        wrong=wrong,
        kept=kept_benchmarks(desk().home),
        collections=_collections(),
        vocabulary={name: sorted(values) for name, values in VOCABULARY.items()},
        ranges=RANGES,
        build=last_build(desk().home),
    )


def _collections() -> Mapping[str, int]:
    if not desk().home.catalogue.exists():
        return {}
    with Catalogue(desk().home.catalogue) as catalogue:
        return catalogue.collections()


def _labels() -> bytes | None:
    """Return the table of labels that came with the form, if one did."""
    file = request.files.get("labels")
    if file is None or not file.filename:
        return None
    data: bytes = file.read(LABELS_LIMIT + 1)
    if len(data) > LABELS_LIMIT:
        raise BadInput("body-too-large", "the table of labels is larger than 8 MB")
    return data


def _view() -> dict[str, Any]:
    build = last_build(desk().home)
    quality = quality_of(build.cohort_id) if build is not None and build.cohort_id else None
    problem = PROBLEMS.get(build.code) if build is not None and build.code else None
    return {"build": build, "job": _job(build), "quality": quality, "problem": problem}


def _job(build: Build | None) -> dict[str, Any] | None:
    """Return the build's progress as the bar shows it."""
    if build is None:
        return None
    left = time_left(build.done, build.total, (now() - build.started).total_seconds())
    return {"title": "Cases prepared", "done": build.done, "total": build.total, "time_left": left}
