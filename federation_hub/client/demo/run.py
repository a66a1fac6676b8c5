"""The demonstration from its first process to its last: five stages, each with the people who act in it."""

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from federation_hub.client.demo.federation import Federation, Silo, approve_requests, require_answered
from federation_hub.client.demo.places import Places, write_hub_settings
from federation_hub.client.demo.processes import Processes
from federation_hub.client.demo.report import report, round_scores
from federation_hub.client.demo.stages import Stage, Stages
from federation_hub.client.hub import ENDED, Hub, Record
from federation_hub.client.plans import PlanFile, resolve_plan
from federation_hub.client.studies import consents
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import MedSiloError
from silo_node.wire.models import ModelCard

_EVALUATION_SECONDS = 900.0
_BOARD_SECONDS = 120.0
_CONSENT_SECONDS = 60.0
_STUDY_SECONDS = 1800.0


@dataclass(frozen=True)
class DemoOptions:
    """What to demonstrate, and with what."""

    dataset: str
    definition: BenchmarkDefinition
    data: Path | None = None
    port: int = 0
    rounds: int | None = None


@dataclass
class People:
    """The hub as each person uses it."""

    owner: Hub
    researcher: Hub


@dataclass
class Demonstration:
    """A demonstration in progress."""

    options: DemoOptions
    federation: Federation
    stages: Stages
    pool: ThreadPoolExecutor

    def run(self) -> Record:
        """Go through every stage and return the report."""
        models = self.pool.submit(self.federation.materials, "models", self.options.dataset, self.options.data)
        made, people = self._start()
        sites, words = made["sites"], made["study"]
        silos = self._enrol(sites, str(words["name"]))
        self._take_in(silos, sites, people)
        submitted = self._evaluate(silos, people, models)
        study = self._train(people, silos, self._plan(words, silos, submitted))
        leaderboard = self._publish(people, study)
        url = f"{self.federation.url}/benchmarks/{self.options.definition.name}"
        return report(
            self.options.definition,
            leaderboard,
            study,
            dataset=self.options.dataset,
            seconds=self.stages.seconds,
            url=url,
        )

    def _start(self) -> tuple[Record, People]:
        """Start the hub, add its people, publish the benchmark; meanwhile the hospitals' folders are written."""
        with self.stages.stage("start", "Starting the hub") as stage:
            stage.expect(3)
            sites = self.pool.submit(self.federation.materials, "sites", self.options.dataset, self.options.data)
            write_hub_settings(self.federation.places.hub)
            stage.step(f"listening at {self.federation.start_hub(self.options.port)}")
            owner = self.pool.submit(self._add_owner)
            people = People(researcher=self._add_researcher(), owner=owner.result())
            people.owner.publish_benchmark(self.options.definition)
            stage.step("writing the hospitals' folders")
            made: Record = sites.result()
            stage.step()
            stage.tell(f"Hub at {self.federation.url}; benchmark {self.options.definition.title}")
        return made, people

    def _add_owner(self) -> Hub:
        return self.federation.add_person("Benchmark owner", role="benchmark-owner", organisation="Benchmark group")

    def _add_researcher(self) -> Hub:
        return self.federation.add_person("Researcher", role="researcher", organisation="University")

    def _enrol(self, sites: list[Record], study: str) -> list[Silo]:
        """Enrol every silo with a one-time code; the admin compares fingerprints."""
        with self.stages.stage("enrolment", f"Enrolling {len(sites)} silos") as stage:
            stage.expect(len(sites))

            def enrol(number: int, site: Record) -> Silo:
                silo = self.federation.enrol_silo(number, site["name"], self.options.definition, study)
                stage.step(f"{silo.name} is active")
                return silo

            return self.federation.in_parallel(enrol, range(1, len(sites) + 1), sites)

    def _take_in(self, silos: list[Silo], sites: list[Record], people: People) -> None:
        """Take in each hospital's folder, freeze a cohort, register it, join the benchmark."""
        name = self.options.definition.name
        with self.stages.stage("cohorts", "Taking in images and freezing cohorts") as stage:
            stage.expect(4 * len(silos))

            def take_in(silo: Silo, site: Record) -> None:
                tell = self.federation.silo_command
                kind = ["folder", site["folder"]] if site["kind"] == "dicom" else ["table", site["folder"]]
                kind += ["--table", site["table"]]
                kind += [] if site["kind"] == "dicom" else ["--modality", self.options.definition.modality]
                taken = tell(silo, "intake", *kind)
                stage.step(f"{silo.name} takes part")
                tell(silo, "benchmark", "join", name)
                stage.step(f"{silo.name} prepares its cohort")
                cohort = tell(silo, "cohort", "build", name)
                stage.step(f"{silo.name} registers its cohort")
                tell(silo, "cohort", "register", cohort["cohort_id"])
                stage.step()
                stage.tell(_taken(silo, taken, cohort))

            self.federation.in_parallel(take_in, silos, sites)
            approve_requests(people.owner)

    def _evaluate(self, silos: list[Silo], people: People, models: "Future[Any]") -> dict[str, Record]:
        """Submit three models; every silo evaluates all of them at once and sends one block of estimates."""
        name = self.options.definition.name
        with self.stages.stage("evaluation", "Submitting and evaluating three models") as stage:
            submitted = {}
            for model in models.result():
                card = ModelCard.model_validate(model["card"])
                submitted[model["name"]] = people.researcher.submit_model(Path(model["bundle"]), card, name)
                stage.tell(f"Submitted {card.name}")
            approve_requests(people.owner)
            # The nodes start only now, so that one evaluation covers all three models.
            for silo in silos:
                self.federation.start_agent(silo)
            self._await_blocks(stage, people, models=len(submitted), silos=len(silos))
        return submitted

    def _train(self, people: People, silos: list[Silo], words: PlanFile) -> Record:
        """Plan a study over every silo, wait for their consent, and follow it to its end."""
        hub = people.researcher
        with self.stages.stage("study", "Training one model over the silos") as stage:
            plan = resolve_plan(words, hub)
            study_id = str(hub.create_study(plan)["study_id"])
            self.federation.wait(
                lambda: consents(hub.study(study_id), "approved") == len(silos),
                seconds=_CONSENT_SECONDS,
                what="the silos' consent",
            )
            hub.start_study(study_id)
            stage.expect(plan.rounds)
            study: Record = {}

            def ended() -> bool:
                study.update(hub.study(study_id))
                stage.at(study["committed"], _progress(study))
                return str(study["state"]) in ENDED

            self.federation.wait(ended, seconds=_STUDY_SECONDS, what="the study to end")
            if study["state"] != "completed":
                raise MedSiloError(study["code"] or "work-failed", f"the study {study['state']}")
            for score in round_scores(study):
                stage.tell(f"After round {score['round']}: {study['metric']} {score['value']:.3f} on validation cases")
        return study

    def _plan(self, words: Record, silos: list[Silo], submitted: dict[str, Record]) -> PlanFile:
        """Fill in what the benchmark's plan cannot know: the model's digest and the silos' names."""
        known = {
            "benchmark": self.options.definition.name,
            "model": submitted[words["model"]]["digest"],
            "silos": [silo.name for silo in silos],
            "rounds": self.options.rounds or words["rounds"],
        }
        return PlanFile.model_validate_json(json.dumps(words | known))

    def _publish(self, people: People, study: Record) -> Record:
        """Wait until every silo has evaluated the study's own model, too, and return the leaderboard."""
        with self.stages.stage("leaderboard", "Evaluating the federated model") as stage:
            approve_requests(people.owner)
            self._await_blocks(stage, people, models=4, silos=len(study["silos"]))
            name = self.options.definition.name
            self.federation.wait(
                lambda: not people.owner.benchmark(name)["board_awaited"], seconds=_BOARD_SECONDS, what="the board"
            )
            return people.owner.leaderboard(name)

    def _await_blocks(self, stage: Stage, people: People, *, models: int, silos: int) -> None:
        """Wait until every silo's block for that many models has been accepted."""
        owner, name = people.owner, self.options.definition.name

        def answered() -> bool:
            current = [one for one in owner.evaluations(name) if len(one["models"]) == models]
            require_answered(current)
            done = sum(one["state"] == "answered" for one in current)
            made, all_of_them = (sum(one[f"progress_{name}"] for one in current) for name in ("done", "total"))
            stage.at(done, f"{made / all_of_them:.0%} predicted" if made else "the silos load the models")
            return bool(done == silos)

        stage.expect(silos)
        self.federation.wait(answered, seconds=_EVALUATION_SECONDS, what="the evaluations")


def run_demo(options: DemoOptions, places: Places, processes: Processes, console: Console) -> Record:
    """Run a whole demonstration and return its report; the hub is still up afterwards.

    Raises ``MedSiloError``: what a command or the hub refused, or ``work-failed`` where a process ended.
    """
    stages = Stages(console)
    # Leaving the pool waits for its threads, which end at once when their processes have been stopped.
    with ThreadPoolExecutor(max_workers=3) as pool:
        demonstration = Demonstration(options, Federation(processes, places), stages, pool)
        try:
            return demonstration.run()
        except BaseException:
            processes.stop_all()
            raise


def _taken(silo: Silo, taken: Record, cohort: Record) -> str:
    refused = sum(taken["quarantined"].values())
    text = f"{silo.name}: {taken['added']} cases taken in" + (f", {refused} files refused" if refused else "")
    return text + f"; a cohort of {cohort['train']} + {cohort['validation']} + {cohort['test']} cases is frozen"


def _progress(study: Record) -> str:
    last = study["rounds"][-1] if study["rounds"] else None
    if last is None:
        return "the silos load their data"
    arrived = sum(update["state"] in ("verified", "folded") for update in last["updates"])
    return f"round {last['round']}, {arrived} of {len(last['updates'])} updates"
