"""Cases that were prepared before are not prepared again, and are gone with the last cohort that has them."""

import stat
from pathlib import Path

import pytest

from silo_node.cohorts.build import build_cohort
from silo_node.cohorts.query import CohortQuery
from silo_node.cohorts.registry import retire_cohort, verify_cohort
from silo_node.intake.run import IntakeRules, take_in
from silo_node.intake.table_source import TableSource
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition, TransformSpec
from silo_node.wire.errors import WorkFailed
from tests.silo.preparations import classification, fit
from tests.silo.sources import npz_site


class Counting:
    """The preparation of the other tests, counting the cases it is given."""

    def __init__(self) -> None:
        self.prepared = 0

    def __call__(self, raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
        self.prepared += len(list(raw.iterdir()))
        fit(raw, out, definition)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "silo")
    table = npz_site(tmp_path / "site", 20)
    take_in(home, TableSource(table, table.parent, collection="first", modality="DX"), IntakeRules("first"))
    more = npz_site(tmp_path / "more", 30, shape=(9, 9))
    take_in(home, TableSource(more, more.parent, collection="more", modality="DX"), IntakeRules("more"))
    return home


def build(home: Home, prepare: Counting, definition: BenchmarkDefinition | None = None, *collections: str) -> str:
    query = CohortQuery(collections=collections)
    return build_cohort(home, definition or classification(), prepare, minimum_cases=1, query=query).cohort.cohort_id


def cached(home: Home) -> list[Path]:
    return list((home.private / "prepared").iterdir())


def test_only_new_cases_are_prepared_and_the_cohort_is_as_sound(home: Home) -> None:
    prepare = Counting()
    build(home, prepare, None, "first")
    assert prepare.prepared == 20
    both = build(home, prepare)
    assert prepare.prepared == 50
    assert len(verify_cohort(home, both).cases) == 50
    build(home, prepare, None, "more")
    assert prepare.prepared == 50, "nothing was left to prepare"
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (home.private, home.private / "prepared")} == {0}


def test_another_preparation_is_another_case(home: Home) -> None:
    prepare = Counting()
    build(home, prepare, None, "first")
    other = classification().model_copy(update={"preparation": (TransformSpec(name="NormalizeIntensityd"),)})
    build(home, prepare, other, "first")
    assert prepare.prepared == 40
    build(home, prepare, classification(name="other_xray"), "first")
    assert prepare.prepared == 40, "the same preparation in another benchmark is the same work"


def test_a_damaged_file_is_prepared_again(home: Home) -> None:
    prepare = Counting()
    build(home, prepare, None, "first")
    path = cached(home)[0]
    path.write_bytes(path.read_bytes()[:-1] + b"\x99")
    build(home, prepare)
    assert prepare.prepared == 20 + 30 + 1


def test_retiring_wipes_what_no_other_cohort_has(home: Home) -> None:
    prepare = Counting()
    first, both = build(home, prepare, None, "first"), build(home, prepare)
    retire_cohort(home, both)
    assert len(cached(home)) == 20
    assert len(verify_cohort(home, first).cases) == 20
    retire_cohort(home, first)
    assert cached(home) == []


def test_a_build_that_fails_leaves_nothing_in_the_cache(home: Home) -> None:
    def fails(raw: Path, out: Path, definition: BenchmarkDefinition) -> None:
        fit(raw, out, definition)
        raise WorkFailed("work-failed")

    with pytest.raises(WorkFailed):
        build_cohort(home, classification(), fails, minimum_cases=1)
    assert not (home.private / "prepared").exists() or cached(home) == []
