"""The intake log outlives a killed hub: what was answered was noted."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from federation_hub.intake.log import MOST_WAITING, Intake
from federation_hub.services import Services
from tests.hub.federation import Federation

CLAIM, RESULT = "/api/v1/tasks/claim", "/api/v1/tasks/{id}/result"


@pytest.fixture
def silo(federation: Federation) -> str:
    return federation.silo().silo_id


def poll(intake: Intake, silo: str, digest: str = "a", path: str = CLAIM) -> None:
    intake.note(silo, method="POST", path=path, subject="", digest="blake3:" + digest * 64, size=20)


def digests(hub_services: Services, silo: str, folder: Path) -> list[str]:
    entries = Intake(hub_services.database, folder).read(silo, 0).entries
    return [entry.digest[-1] for entry in entries if entry.path in (CLAIM, RESULT) and entry.size == 20]


def test_what_waited_when_a_process_ended_is_taken_over_once(hub_services: Services, silo: str, tmp_path: Path) -> None:
    """By whoever reads next; the time is that of the arrival."""
    before, folder = datetime.now(UTC), tmp_path / "waiting"
    ended = Intake(hub_services.database, folder)
    for digest in "abc":
        poll(ended, silo, digest)
    assert digests(hub_services, silo, folder) == []  # its process lives, and the lines are its own to write
    after = datetime.now(UTC)
    del ended
    assert digests(hub_services, silo, folder) == ["a", "b", "c"]
    assert digests(hub_services, silo, folder) == ["a", "b", "c"]
    assert list(folder.iterdir()) == []
    entries = Intake(hub_services.database, folder).read(silo, 0).entries
    assert all(before <= entry.received <= after for entry in entries if entry.size == 20)


def test_a_kill_between_the_database_and_the_file_writes_nothing_twice(
    hub_services: Services, silo: str, tmp_path: Path
) -> None:
    """The transaction says up to which line; a line that a full disk cut off is nobody's."""
    folder = tmp_path / "waiting"
    ended = Intake(hub_services.database, folder)
    poll(ended, silo, "a")
    (file,) = folder.iterdir()
    kept = file.read_bytes()
    poll(ended, silo, "b", RESULT)
    assert file.read_bytes() == b""
    later = kept.replace(b'"number": 1', b'"number": 3').replace(b"a" * 64, b"c" * 64)
    file.write_bytes(kept + later + b'{"number": 4, "silo')
    del ended
    assert digests(hub_services, silo, folder) == ["a", "b", "c"]


def test_many_polls_are_written_together(hub_services: Services, silo: str, tmp_path: Path) -> None:
    """So the file stays short."""
    intake = Intake(hub_services.database, tmp_path / "waiting")
    for _ in range(MOST_WAITING + 1):
        poll(intake, silo)
    (file,) = (tmp_path / "waiting").iterdir()
    assert len(file.read_bytes().splitlines()) == 1
