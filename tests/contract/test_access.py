"""Every route against everybody, compared with a committed matrix: a change of who may what is seen in review.

After a change: ``MEDSILO_WRITE_ACCESS=1 python -m pytest tests/contract/test_access.py``.
"""

import csv
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.walking import CALLERS, Walk, walk

MATRIX = Path(__file__).with_name("access.csv")


@pytest.fixture(scope="module")
def walking(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    """A filled hub, and one caller of each kind."""
    home = tmp_path_factory.mktemp("access") / "hub"
    shutil.copytree(showcase_home, home)
    yield from walk(home)


def test_who_may_what_is_as_committed(walking: Walk) -> None:
    """Each status of each route for each caller, with the addresses of things that are there and an empty body."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "route", *CALLERS])
    for method, rule in walking.rules():
        writer.writerow([method, rule, *(walking.call(method, rule, name).status_code for name in CALLERS)])
    if os.environ.get("MEDSILO_WRITE_ACCESS"):
        MATRIX.write_text(text.getvalue(), encoding="utf-8")
    found, committed = text.getvalue().splitlines(), MATRIX.read_text(encoding="utf-8").splitlines()
    assert [line for line in found if line not in committed] == []
    assert found == committed


def test_no_call_fails_and_no_stranger_is_served_what_is_guarded(walking: Walk) -> None:
    """The matrix itself: no 5xx; what is refused to no role at all is public; pages lead strangers to the door."""
    with MATRIX.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        where = f"{row['method']} {row['route']}"
        assert all(int(row[name]) < 500 for name in CALLERS), where
        guarded = row["anonymous"] == "401" or (row["anonymous"] == "303" and row["hub-admin"] != "303")
        if row["anonymous"] != "403" and any(row[name] == "403" for name in CALLERS):
            assert guarded or row["method"] == "POST", where
        if row["route"].startswith(("/api/v1/silo/", "/api/v1/silo", "/api/v1/tasks")) and "silos" not in row["route"]:
            assert {row[name] for name in CALLERS[1:7]} == {"403"}, where
    assert {(row["method"], row["route"]) for row in rows} == set(walking.rules())


def test_a_site_sees_its_own_rows_only(walking: Walk) -> None:
    """Whatever another silo reads, nothing of the first one's guarded rows is in it."""
    own = [walking.ids[name] for name in ("cohort_id", "association_id", "task_id")]
    assert all(own)
    read = 0
    for method, rule in walking.rules():
        if method != "GET" or not rule.startswith("/api/"):
            continue
        answer = walking.call(method, rule, "other-silo")
        if answer.status_code == 200 and walking.call(method, rule, "anonymous").status_code == 401:
            read += 1
            assert not any(secret in answer.text for secret in own), rule
    assert read >= 3
