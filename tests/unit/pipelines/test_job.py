"""The jobs, commands and events that cross the sandbox's edge."""

import json
from pathlib import Path

import pytest

from pipelines.errors import CODES, PipelineError
from pipelines.job import (
    EvaluateJob,
    LocalTraining,
    ModelFile,
    ProgressEvent,
    RoundCommand,
    StopCommand,
    read_command,
    read_event,
    read_job,
)
from silo_node.wire.errors import PROBLEMS
from silo_node.wire.studies import LocalTraining as WireLocalTraining
from tests.unit.pipelines.examples import definition

DIGEST = "blake3:" + "ab" * 32


def test_every_code_of_the_pipelines_is_a_registered_problem() -> None:
    """The sandbox knows nothing of the wire, so the codes are written twice."""
    assert set(PROBLEMS) >= CODES


def test_an_unregistered_code_cannot_be_raised() -> None:
    """A misspelt code is a fault of the program and not a refusal."""
    with pytest.raises(KeyError):
        PipelineError("no-such-code")


def test_local_training_has_the_wires_fields_and_defaults() -> None:
    """What a study plan says about training is what the sandbox understands."""
    assert LocalTraining().model_dump() == WireLocalTraining().model_dump()


def test_a_job_survives_its_file(tmp_path: Path) -> None:
    """The node writes a job with Pydantic; the worker reads the same job."""
    job = EvaluateJob(
        cohort=Path("/cohort"),
        definition=definition(),
        models=(ModelFile(digest=DIGEST, path=Path("/models/ab.zip")),),
        out=Path("/out"),
    )
    file = tmp_path / "job.json"
    file.write_text(job.model_dump_json())
    assert read_job(file) == job
    assert job.models[0].hex == "ab" * 32


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("not json", "malformed-message"),
        ('{"kind": "format-disk"}', "malformed-message"),
        ('{"kind": "check", "bundle": "/b", "out": "/o", "surprise": 1}', "malformed-message"),
    ],
)
def test_a_malformed_job_is_refused(tmp_path: Path, text: str, code: str) -> None:
    """An unknown kind, an unknown field, or no JSON at all."""
    file = tmp_path / "job.json"
    file.write_text(text)
    with pytest.raises(PipelineError) as refused:
        read_job(file)
    assert refused.value.code == code


def test_a_job_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The file's own code, so that the node can tell a missing bind from a bad job."""
    with pytest.raises(PipelineError, match="file-missing"):
        read_job(tmp_path / "job.json")


def test_commands_are_read_by_their_name() -> None:
    """The two commands of a training session."""
    assert read_command('{"command": "round", "round": 3, "weights": "/exchange/r3"}') == RoundCommand(
        round=3, weights=Path("/exchange/r3")
    )
    assert read_command('{"command": "stop"}') == StopCommand()


@pytest.mark.parametrize(
    "line", ["{}", "[]", '{"command": "round"}', '{"command": "round", "round": 0, "weights": "x"}']
)
def test_a_malformed_command_has_a_code(line: str) -> None:
    """So that the session can answer it and go on."""
    with pytest.raises(PipelineError, match="malformed-message"):
        read_command(line)


@pytest.mark.parametrize(
    "event",
    [
        {"event": "progress", "done": -1, "total": 2},
        {"event": "progress", "done": 1, "total": 2, "patient": "x"},
        {"event": "round", "round": 1, "update": None, "score": {"metric": "auroc", "value": 1e999, "cases": 3}},
        {"event": "hello"},
    ],
)
def test_an_undeclared_event_of_the_sandbox_is_refused(event: dict) -> None:
    """What comes out of the sandbox is not trusted: no extra fields, no infinities, no new kinds."""
    with pytest.raises(PipelineError, match="malformed-message"):
        read_event(json.dumps(event))


def test_a_declared_event_is_read() -> None:
    """The line the worker writes is the event the node reads."""
    event = ProgressEvent(done=1, total=4)
    assert read_event(event.model_dump_json()) == event
