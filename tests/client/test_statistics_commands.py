"""``medsilo statistics`` and ``medsilo cohort find``: what a researcher is shown of silos' answers, and what not."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from federation_hub.client import Hub
from federation_hub.client.cli import app
from silo_node.identity import load_identity
from silo_node.wire.benchmarks import BenchmarkReference
from silo_node.wire.canonical import message_digest
from silo_node.wire.cohorts import CountBand
from silo_node.wire.envelope import open_envelope, seal
from silo_node.wire.errors import MedSiloError
from silo_node.wire.statistics import Cell, StatisticsReport, StatisticsTask
from silo_node.wire.tasks import ClaimRequest, Decline, Task
from tests.client.conftest import People
from tests.sites import TOY, Person, Site

COUNTED = TOY.model_copy(update={"name": "counted", "title": "A question of counts"})
Medsilo = Callable[..., Result]


class Counting(Site):
    """A site whose cohort is of this module's own benchmark: others' studies do not ask it."""

    def register_cohort(self, benchmark: BenchmarkReference | None = None) -> None:
        super().register_cohort(
            BenchmarkReference(name=COUNTED.name, version=COUNTED.version, digest=message_digest(COUNTED))
        )

    def answer(self, told: Sequence[Cell] | CountBand | None) -> None:
        """Answer the question that waits with cells or a band; with None decline it."""
        door, identity = self.dial(), load_identity(self.home)
        envelope = door.claim(ClaimRequest(kinds=("statistics",))).task
        assert envelope is not None
        task = open_envelope(envelope, Task, identity.enrolment.hub_public_key)
        assert isinstance(task.body, StatisticsTask)
        if told is None:
            door.decline(task.task_id, Decline(code="policy-differencing"))
        else:
            report = StatisticsReport(
                task_id=task.task_id,
                query_id=task.body.query_id,
                silo_id=self.silo_id,
                cohort=task.body.cohort,
                band=told if isinstance(told, str) else None,
                cells=() if isinstance(told, str) else tuple(told),
                minimum=11,
            )
            door.result(task.task_id, seal(report, identity.key))
        door.close()


@pytest.fixture(scope="module")
def sites(people: People, tmp_path_factory: pytest.TempPathFactory) -> list[Counting]:
    Hub(people.url, people.owner_token).publish_benchmark(COUNTED)
    folder, admin = tmp_path_factory.mktemp("counting"), Person(people.url, people.process.admin_token)
    return [Counting.join(folder / name, people.url, admin, f"{name} clinic") for name in ("Ash", "Elm", "Oak", "Yew")]


@pytest.fixture
def medsilo(people: People, token_file: Path) -> Medsilo:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["--hub", people.url, "--token-file", str(token_file), *arguments])

    return run


def document(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def cells(**patients: int | None) -> list[Cell]:
    return [Cell(level=level, patients=count) for level, count in patients.items()]


def test_counts_are_pooled_once_enough_silos_have_told_and_no_silo_is_shown(
    medsilo: Medsilo, sites: list[Counting]
) -> None:
    """Two answers are too few for this benchmark; of the third one cell is withheld, and the fourth declines."""
    asked = document(medsilo("statistics", "ask", "counted", "--attribute", "sex", "--where", "maker=ge", "--json"))
    assert (asked["asked"], asked["answered"], asked["cells"]) == (4, 0, [])
    for site in sites[:2]:
        site.answer(cells(f=30, m=45))
    show = ("statistics", "show", asked["query_id"])
    assert document(medsilo(*show, "--json"))["cells"] == []
    sites[2].answer(cells(f=20, m=None))
    sites[3].answer(None)
    found = document(medsilo(*show, "--json"))
    assert (found["answered"], found["declined"], found["withheld"]) == (3, 1, 1)
    assert found["cells"] == [
        {"level": "f", "patients": 80, "silos": 3}, {"level": "m", "patients": 90, "silos": 2},
    ]  # fmt: skip
    assert not any(site.silo_id in json.dumps(found) for site in sites)
    told = medsilo(*show).stdout
    assert "3 of 4 silos have answered, 1 declined" in told
    assert "1 cells were withheld by silos." in told


def test_a_finder_tells_bands_and_no_counts(medsilo: Medsilo, sites: list[Counting]) -> None:
    find = ("cohort", "find", "counted", "--where", "sex=f", "--where", "age_band=40-44,45-49")
    asked = document(medsilo(*find, "--json"))
    for site, band in zip(sites, ("20-49", "20-49", "fewer-than-20", "fewer-than-20"), strict=True):
        site.answer(band)
    found = document(medsilo("statistics", "show", asked["query_id"], "--json"))
    assert found["bands"] == {"20-49": 2, "fewer-than-20": 2}
    assert (found["cells"], found["mean"]) == ([], None)
    assert "fewer-than-20" in medsilo("statistics", "show", asked["query_id"]).stdout


def test_an_answer_of_another_kind_than_was_asked_is_refused(medsilo: Medsilo, sites: list[Counting]) -> None:
    """Counts where a band was asked for, as a silo would tell that was talked into it."""
    document(medsilo("cohort", "find", "counted", "--json"))
    with pytest.raises(MedSiloError, match="report-wrong-task"):
        sites[0].answer(cells(f=30))


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("cohort", "find", "counted", "--where", "sex"), "malformed-message"),
        (("cohort", "find", "counted", "--where", "name=ada"), "malformed-message"),
        (("statistics", "ask", "counted", "--attribute", "sex", "--where", "sex=f"), "malformed-message"),
        (("statistics", "ask", "counted", "--attribute", "sex", "--epsilon", "50"), "malformed-message"),
        (("statistics", "ask", "nothing", "--attribute", "sex"), "benchmark-unknown"),
        (("statistics", "show", "query-3k9f0q2m1x7c"), "not-found"),
    ],
)
def test_what_cannot_be_asked_is_told_with_a_code(medsilo: Medsilo, words: tuple[str, ...], code: str) -> None:
    error = medsilo(*words).exception
    assert isinstance(error, MedSiloError)
    assert error.code == code


@pytest.mark.usefixtures("sites")
def test_a_question_is_its_own_organisations(medsilo: Medsilo, people: People) -> None:
    """Also the owner of the benchmark, who may ask himself, does not see what others asked."""
    query = document(medsilo("cohort", "find", "counted", "--json"))["query_id"]
    with pytest.raises(MedSiloError, match="not-found"):
        Hub(people.url, people.owner_token).statistics(query)
