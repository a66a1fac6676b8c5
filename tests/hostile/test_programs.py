"""What a hostile program could do once it runs after all: in the jail it is harmless, and what it leaves is not used.

Each program here stands in for the worker, as a hole in a library would let a model take its place.
"""

import json
import math
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.job import InspectJob, ModelFile
from silo_node.agent.scores import keep_scores, read_scores
from silo_node.sandbox import Bind, Jail, Limits, Sandbox, choose
from silo_node.sandbox.work import run_job
from silo_node.wire.errors import WorkFailed

SMALL = Limits(wall_seconds=2.0, memory_mb=300, file_mb=4, scratch_mb=16, processes=8)
CASE = "0" * 16
JOB = InspectJob(models=(ModelFile(digest="blake3:" + "a" * 64, path=Path("/models/a.zip")),), out=Path("/out"))


class Replaced:
    """A real jail in which another program takes the worker's place."""

    jailed = True

    def __init__(self, program: str) -> None:
        self._program = textwrap.dedent(program)

    def start(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, *, log: Path | None = None) -> Jail:
        return choose().start([sys.executable, "-c", self._program], binds, limits, log=log)


def run(program: str, tmp_path: Path) -> str:
    """Run a program in the worker's place and return the code its work fails with."""
    sandbox: Sandbox = Replaced(program)
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(WorkFailed) as failed:
        run_job(sandbox, JOB, [Bind(out, "/out", writable=True)], SMALL, scratch=tmp_path, log=tmp_path / "log")
    return failed.value.code


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("hoard = bytearray(100_000_000_000)", "work-failed"),
        ("import time\nhoard = []\nwhile True: hoard.append(bytearray(20_000_000)); time.sleep(0.02)", "sandbox-limit"),
        ("while True: pass", "sandbox-limit"),
        ("while True: print('{\"event\":\"progress\",\"done\":1,\"total\":2}', flush=True)", "sandbox-limit"),
        ("while True: print('x' * 1000)", "output-invalid"),
        ("while True: print('x', end='')", "output-invalid"),
        ("import sys\nwhile True: sys.stderr.write('Erika Musterfrau ' * 1000)", "sandbox-limit"),
        ("import os, time\nfor _ in range(50): os.fork() or time.sleep(9)\ntime.sleep(9)", "sandbox-limit"),
        ("import ctypes\nctypes.string_at(0)", "work-failed"),
        ("print('{\"event\":\"error\",\"code\":\"erika-musterfrau\"}')", "work-failed"),
        ("print('{\"event\":\"done\",\"name\":\"Erika Musterfrau\"}')", "output-invalid"),
        ("print('[' * 60000)", "output-invalid"),
    ],
    ids=[
        "allocates-100-GB", "hoards", "never-ends", "prints-for-ever", "prints-what-is-not-declared",
        "prints-without-an-end", "complains-for-ever", "forks", "crashes", "makes-up-a-code", "adds-a-field", "nests",
    ],
)  # fmt: skip
def test_a_program_that_misbehaves_ends_with_a_registered_code(program: str, code: str, tmp_path: Path) -> None:
    """Nothing of what it said is in the error, and its complaints are bounded."""
    assert run(program, tmp_path) == code
    log = tmp_path / "log"
    assert not log.exists() or log.stat().st_size <= 1_000_000


def test_a_file_of_terabytes_does_not_fill_the_disk(tmp_path: Path) -> None:
    """It ends at its limit."""
    program = "file = open('/out/big', 'wb')\nwhile True: file.write(bytes(1_000_000)); file.flush()"
    assert run(program, tmp_path) == "work-failed"
    assert (tmp_path / "out" / "big").stat().st_size <= SMALL.file_mb * 1_000_000


def line(**changes: Any) -> dict[str, Any]:
    return {
        "case": CASE, "patient": CASE, "label": 1, "failed": False, "scores": [0.25, 0.75], "structures": None,
        "seconds": 0.123456789, "peak_memory_mb": 123.456789, "attributes": {}, **changes,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"pixels": [0.1] * 4096},
        {"scores": [0.1] * 4096},
        {"scores": "iVBORw0KGgo="},
        {
            "structures": {
                "core": {"dice": 0.5, "volume_ml": 1, "reference_ml": 1, "empty_reference": False, "image": "x"}
            }
        },
        {"case": "Erika Musterfrau"},
    ],
    ids=["a-field-of-pixels", "too-many-scores", "text-for-scores", "a-field-in-a-structure", "a-name-for-a-case"],
)
def test_pixels_written_into_the_scores_are_refused(changes: dict[str, Any], tmp_path: Path) -> None:
    """Where the declared form has no room for them."""
    (tmp_path / "sheet").write_text(json.dumps(line(**changes)) + "\n")
    with pytest.raises(WorkFailed, match="output-invalid"):
        read_scores(tmp_path / "sheet", [CASE])


def test_pixels_in_the_low_digits_of_the_scores_are_gone_before_anything_is_computed(tmp_path: Path) -> None:
    """A score has some 12 bits after the site has read it, whatever wrote it: 40 bits of an image do not survive."""
    random = np.random.default_rng(7)
    kept = []
    for trial in range(50):
        pixels = int(random.integers(0, 2**40))
        smuggled = 0.5 + pixels / 2**53
        attributes = {"sex": f"{pixels:x}"}
        costs = {"seconds": 1 + pixels / 2**52, "peak_memory_mb": 100 + pixels / 2**46}
        (tmp_path / "sheet").write_text(
            json.dumps(line(scores=[smuggled, 1 - smuggled], attributes=attributes, **costs)) + "\n"
        )
        keep_scores(read_scores(tmp_path / "sheet", [CASE]), tmp_path / f"{trial}")
        kept.append((tmp_path / f"{trial}").read_bytes())
    assert len(set(kept)) == 1


def test_the_steps_keep_the_order_where_a_model_is_sure(tmp_path: Path) -> None:
    """Steps of log-odds, not of the probability: what is almost 1 is still told from what is nearly 1."""
    values = [1 / (1 + math.exp(-x)) for x in (-20, -10, -1, 0, 1, 10, 20)]
    found = []
    for value in values:
        (tmp_path / "sheet").write_text(json.dumps(line(scores=[1 - value, value])) + "\n")
        keep_scores(read_scores(tmp_path / "sheet", [CASE]), tmp_path / "kept")
        keep_scores(read_scores(tmp_path / "kept", [CASE]), tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == (tmp_path / "kept").read_bytes()
        found.append(json.loads((tmp_path / "kept").read_text())["scores"][1])
    assert found == sorted(set(found))
    assert found == pytest.approx(values, rel=0.02)
