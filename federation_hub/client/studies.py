"""A study on the terminal: waiting for its silos' consent, following its rounds, and a table of what happened."""

import sys
import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from federation_hub.client.hub import Hub, Record
from federation_hub.client.plans import PlanFile, resolve_plan
from federation_hub.client.terminal import messages, output, print_table
from federation_hub.studies.baseline import averaging_twin

_CONSENT_SECONDS = 1.0


def create_study(hub: Hub, asked: PlanFile) -> list[str]:
    """Create a study, and the one it is compared with where the plan asks for it; return their ids."""
    exact = resolve_plan(asked, hub)
    if asked.baseline != "fedavg":
        return [str(hub.create_study(exact)["study_id"])]
    baseline = str(hub.create_study(averaging_twin(exact))["study_id"])
    study_id = hub.create_study(exact.model_copy(update={"baseline": baseline}))["study_id"]
    return [str(study_id), baseline]


def wait_for_consents(hub: Hub, study_id: str) -> Record:
    """Wait until enough silos agreed for the quorum and every other one has answered, and return the study.

    A hospital may take days to answer; interrupting the wait changes nothing at the hub.
    """
    with _bar() as bar:
        task = bar.add_task("Waiting for the silos' consent")
        while True:
            study = hub.study(study_id)
            agreed, open_ = consents(study, "approved"), consents(study, "requested")
            bar.update(task, completed=agreed, total=len(study["silos"]))
            if study["state"] != "recruiting" or (not open_ and agreed >= study["plan"]["quorum"]):
                return study
            if agreed + open_ < study["plan"]["quorum"]:
                return study
            time.sleep(_CONSENT_SECONDS)


def watch_study(hub: Hub, study_id: str) -> Record:
    """Follow a study with a bar of its rounds until it ends, and return it."""
    study: Record = {}
    with _bar() as bar:
        task = bar.add_task("Rounds")
        for study in hub.watch(study_id):
            bar.update(task, completed=study["committed"], total=study["plan"]["rounds"], description=_now(study))
    return study


def consents(study: Record, state: str) -> int:
    """Return how many of a study's silos stand at ``state``: requested, approved, declined or ended."""
    return sum(silo["consent"] == state for silo in study["silos"])


def print_study(study: Record) -> None:
    """Print a study: one line of facts and a table of its rounds."""
    code = f" [{study['code']}]" if study["code"] else ""
    line = f"{study['study_id']}  {study['title']}: {study['state']}{code}, "
    line += f"{study['committed']} of {study['plan']['rounds']} rounds, {len(study['silos'])} silos"
    output().print(line, markup=False, soft_wrap=True)
    columns = ["round", "state", "sites", f"{study['metric']} (by cases)", "rejected or late"]
    print_table(columns, [_row(entry) for entry in study["rounds"]])
    if study["best_round"] is not None:
        output().print(f"Best model so far: that of round {study['best_round']}")
    if study["final_model"]:
        output().print(f"Final model {study['final_model']}", soft_wrap=True)


def print_report(study: Record, baseline: Record | None = None) -> None:
    """Print what each site gets of a study: its scores of the global model, of its own, of the one alone, by FedAvg."""
    print_study(study)
    fedavg = {silo: told.get("score") for silo, told in _told_at_the_end(baseline).items()} if baseline else {}
    told_of = ("score", "personal", "alone")
    rows = [
        [told["silo"], *(told.get(name) for name in told_of), fedavg.get(silo), told.get("verdict")]
        for silo, told in _told_at_the_end(study).items()
    ]
    title = f"{study['metric']} at each site after round {report_round(study)}"
    print_table(["site", "global", "personal", "alone", "fedavg", "verdict"], rows, title=title)


def study_report(study: Record) -> Record:
    """Return what a report tells of a study, as plain values."""
    made = report_round(study)
    return {"study": study["study_id"], "round": made, "metric": study["metric"], "curves": study["curves"]}


def _told_at_the_end(study: Record) -> dict[str, Record]:
    """Return what each site told of the model a report is about, by silo."""
    made = report_round(study)
    return {
        curve["silo_id"]: {"silo": curve["silo"]}
        | next((point for point in curve["points"] if point["made"] == made), {})
        for curve in study["curves"]
    }


def report_round(study: Record) -> int | None:
    """Return the round whose model a report is about: the registered one's, else the last that was scored."""
    evaluation, schedule = study["plan"]["evaluation"], study["plan"]["schedule"]
    if evaluation["keep"] == "best" and schedule["name"] != "buffered" and study["best_round"] is not None:
        return int(study["best_round"])
    return max((point["made"] for curve in study["curves"] for point in curve["points"]), default=None)


def _row(entry: Record) -> list[Any]:
    name = f"{entry['round']}" + (f", attempt {entry['attempt']}" if entry["attempt"] > 1 else "")
    score = f"{entry['score']['by_cases']:.4f}" if entry["score"] else None
    gone = [update for update in entry["updates"] if update["state"] in ("rejected", "late")]
    lost = [f"{update['silo']}: {update['code'] or update['state']}" for update in gone]
    state = "validation only" if entry["validate_only"] else entry["code"] or entry["state"]
    return [name, state, entry["sites"], score, ", ".join(lost) or None]


def _now(study: Record) -> str:
    last = study["rounds"][-1] if study["rounds"] else None
    if study["state"] != "running" or last is None:
        return f"Study {study['state']}"
    arrived = sum(update["state"] in ("verified", "folded") for update in last["updates"])
    return f"Round {last['round']}: {arrived} of {len(last['updates'])} sites"


def _bar() -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), console=messages(), transient=True, disable=not sys.stderr.isatty())
