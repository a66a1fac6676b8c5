"""The sandbox's entry point as a process: its protocol, its exit status, and what it does when it is killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pipelines.authoring import initial_weights
from pipelines.job import CheckJob, EvaluateJob, LocalPrivacy, LocalTraining, ModelFile, TrainSession, read_event
from pipelines.worker import NEEDED_FOR_PRIVACY, UNUSED, Protocol, run
from tests.unit.pipelines.examples import definition, tiny_bundle, tiny_profile, write_cohort

HEX = "ab" * 32


def evaluation(tmp_path: Path, cases: int) -> EvaluateJob:
    write_cohort(tmp_path / "cohort", test=cases)
    bundle = tiny_bundle(tmp_path / "b.zip")
    return EvaluateJob(
        cohort=tmp_path / "cohort",
        definition=definition(),
        models=(ModelFile(digest=f"blake3:{HEX}", path=bundle),),
        out=tmp_path / "out",
    )


def start(tmp_path: Path, job: Any, **options: Any) -> "subprocess.Popen[str]":
    file = tmp_path / "job.json"
    file.write_text(job.model_dump_json())
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "pipelines.worker", str(file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def told(job: Any, commands: list[str] | None = None) -> tuple[int, list[dict[str, Any]]]:
    """Run a job in this process and return its exit status and its events."""
    stream = io.StringIO()
    status = run(job, Protocol(stream), commands or [])
    return status, [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.slow
def test_a_killed_evaluation_started_again_ends_with_the_same_scores(tmp_path: Path) -> None:
    """``kill -9`` in the middle, then the same job file: no case twice, none missing; and nothing loaded in vain."""
    job = evaluation(tmp_path, cases=800)
    first = start(tmp_path, job)
    path = tmp_path / f"out/scores/{HEX}.jsonl"
    deadline = time.monotonic() + 120
    while not (path.exists() and path.read_bytes().count(b"\n") > 5) and time.monotonic() < deadline:
        time.sleep(0.01)
    loaded = Path(f"/proc/{first.pid}/maps").read_text()
    assert "torch" in loaded
    spared = [name.replace(".", "/") for name in UNUSED + NEEDED_FOR_PRIVACY]
    assert [name for name in spared if f"/site-packages/{name}/" in loaded] == []
    first.send_signal(signal.SIGKILL)
    first.communicate()
    done = path.read_bytes().count(b"\n")
    assert 5 < done < 800
    second = start(tmp_path, job)
    output, log = second.communicate(timeout=300)
    events = [read_event(line) for line in output.splitlines()]
    assert second.returncode == 0, log
    assert events[-1].event == "done"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({line["case"] for line in lines}) == len(lines) == 800


@pytest.mark.slow
def test_a_training_session_survives_bad_commands_and_stops_when_told(tmp_path: Path) -> None:
    """Every line on standard output is a declared event, whatever comes in; private, so with all that privacy needs."""
    write_cohort(tmp_path / "cohort")
    tiny_bundle(tmp_path / "b.zip")
    save_file(initial_weights(tiny_profile(), 0), tmp_path / "r1.safetensors")
    job = TrainSession(
        cohort=tmp_path / "cohort",
        definition=definition(),
        bundle=tmp_path / "b.zip",
        local=LocalTraining(batch_size=4),
        privacy=LocalPrivacy(noise_multiplier=1, rate=0.5, steps=1, clipping_norm=1),
        out=tmp_path / "out",
        exchange=tmp_path,
    )
    commands = [
        "nonsense",
        '{"command": "round", "round": 1, "weights": "/nowhere"}',
        json.dumps({"command": "round", "round": 1, "weights": str(tmp_path / "r1.safetensors")}),
        '{"command": "stop"}',
    ]
    process = start(tmp_path, job)
    output, log = process.communicate("\n".join(commands) + "\n", timeout=300)
    events = [read_event(line) for line in output.splitlines()]
    assert process.returncode == 0, log
    assert [event.event for event in events if event.event != "progress"] == ["ready", "error", "error", "round"]
    assert [event.code for event in events if event.event == "error"] == ["malformed-message", "file-missing"]
    update = load_file(tmp_path / "out/r1.update.safetensors")
    assert update.keys() == initial_weights(tiny_profile(), 0).keys()


def test_a_session_ends_with_its_input(tmp_path: Path) -> None:
    """The node that is gone leaves no process behind."""
    write_cohort(tmp_path / "cohort")
    job = TrainSession(
        cohort=tmp_path / "cohort",
        definition=definition(),
        bundle=tiny_bundle(tmp_path / "b.zip"),
        local=LocalTraining(),
        out=tmp_path / "out",
        exchange=tmp_path,
    )
    assert told(job, ["", "\n"]) == (0, [{"event": "ready"}])


def test_a_round_that_only_validates_has_no_update(tmp_path: Path) -> None:
    """And the score says why it has no value where it has none."""
    write_cohort(tmp_path / "cohort", validation=4)
    save_file(initial_weights(tiny_profile(), 0), tmp_path / "w.safetensors")
    job = TrainSession(
        cohort=tmp_path / "cohort",
        definition=definition(),
        bundle=tiny_bundle(tmp_path / "b.zip"),
        local=LocalTraining(),
        out=tmp_path / "out",
        exchange=tmp_path,
    )
    command = {"command": "round", "round": 7, "weights": str(tmp_path / "w.safetensors"), "validate_only": True}
    _, events = told(job, [json.dumps(command)])
    assert events[-1] == {
        "event": "round",
        "round": 7,
        "update": None,
        "score": {"metric": "auroc", "value": None, "reason": "too-few-positives", "cases": 4},
        "train_seconds": 0.0,
        "personal": None,
        "alone": None,
        "mixed": None,
    }


def test_a_failed_round_is_a_coded_event_and_the_next_one_works(tmp_path: Path) -> None:
    """A global model that does not fit must not cost a study its session."""
    write_cohort(tmp_path / "cohort")
    good = initial_weights(tiny_profile(), 0)
    save_file(good, tmp_path / "good.safetensors")
    save_file({**good, "extra": np.zeros(1, np.float32)}, tmp_path / "extra.safetensors")
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes()[:-4])
    job = TrainSession(
        cohort=tmp_path / "cohort",
        definition=definition(),
        bundle=tiny_bundle(tmp_path / "b.zip"),
        local=LocalTraining(),
        out=tmp_path / "out",
        exchange=tmp_path,
    )
    commands = [
        json.dumps({"command": "round", "round": 1, "weights": str(tmp_path / f"{name}.safetensors")})
        for name in ("extra", "torn", "good")
    ]
    status, events = told(job, commands)
    assert status == 0
    assert [event.get("code") for event in events if event["event"] in ("error", "round")] == [
        "weights-mismatch",
        "weights-invalid",
        None,
    ]


def test_a_batch_job_that_fails_tells_its_code_and_exits_with_one(tmp_path: Path) -> None:
    """A bundle that is none, here."""
    (tmp_path / "b.zip").write_bytes(b"nothing")
    status, events = told(CheckJob(bundle=tmp_path / "b.zip", out=tmp_path))
    assert status == 1
    assert events == [{"event": "error", "code": "bundle-archive-unsafe"}]


def test_an_unforeseen_error_tells_nothing_of_what_it_was_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Only its kind and its place are logged: the message may quote a case."""
    job = evaluation(tmp_path, cases=2)
    (tmp_path / "out").write_text("a file where a folder should be")
    status, events = told(job)
    assert status == 1
    assert events == [{"event": "error", "code": "work-failed"}]
    assert "Error in" in caplog.text
    assert str(tmp_path) not in caplog.text
