"""The commands of a hospital's IT: what they print, how they fail, and what they load."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from silo_node.cli import main
from silo_node.identity import load_enrolment
from silo_node.outbox.egress_log import EgressLog
from silo_node.policy import Policy, load_policy
from silo_node.state import Home
from tests.conftest import HubProcess
from tests.sites import Person


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str


Run = Callable[..., Said]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run ``silo-node`` with these arguments, in this process."""

    def call(home: Path, *arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["silo-node", "--home", str(home), *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Said(int(ended.value.code or 0), out, err)

    return call


@pytest.fixture
def printed(run: Run) -> Callable[..., Any]:
    """Run a command that must succeed and return the JSON it printed."""

    def call(home: Path, *arguments: str) -> Any:
        said = run(home, *arguments, "--json")
        assert said.status == 0, said.err
        return json.loads(said.out)

    return call


def test_the_command_loads_nothing_heavy() -> None:
    """Help must come at once."""
    heavy = ("torch", "monai", "pandas", "numpy", "pydicom")
    program = f"import sys, silo_node.cli; sys.exit(any(name in sys.modules for name in {heavy}))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_a_fresh_folder_is_told_what_is_missing(run: Run, printed: Callable[..., Any], tmp_path: Path) -> None:
    """Each complaint has a code and a remedy; exit statuses tell refused from wrong usage."""
    home = tmp_path / "node"
    status = printed(home, "status")
    assert [warning["code"] for warning in status["warnings"]] == ["not-enrolled"]
    done = run(home, "benchmark", "list")
    assert done.status == 1
    assert "[not-enrolled]" in done.err
    assert "Hint: Run silo-node enrol" in done.err
    assert run(home, "no-such-command").status == 2
    problem = json.loads(run(home, "outbox", "show", "out-nothing", "--json").err)
    assert problem["code"] == "not-found"


def test_a_wrong_configuration_is_told_with_a_suggestion(run: Run, tmp_path: Path) -> None:
    """Instead of a node that runs with other limits than somebody thinks."""
    home = Home(tmp_path).create()
    home.config_file.write_text("thread = 2\n")
    done = run(home.path, "status")
    assert done.status == 1
    assert "config-unknown-key" in done.err
    assert "did you mean 'threads'?" in done.err


def test_the_override_is_shown_on_every_command(run: Run, tmp_path: Path) -> None:
    """Nobody shall forget it."""
    home = Home(tmp_path).create()
    home.config_file.write_text("development_no_sandbox = true\n")
    for arguments in (("policy", "show"), ("outbox", "list"), ("status",)):
        assert "tasks run without a sandbox" in run(home.path, *arguments).err
    findings = json.loads(run(home.path, "doctor", "--json").out)
    assert {finding["code"]: finding["verdict"] for finding in findings}["SN-SBX-001"] == "failed"


def test_a_hub_that_cannot_be_reached_has_its_own_exit_status(
    run: Run, printed: Callable[..., Any], tmp_path: Path
) -> None:
    """A script may try again later; no key of a hub nobody saw is kept."""
    done = run(tmp_path / "node", "enrol", "--hub", "http://127.0.0.1:9", "--code", "ABCD-EFGH-2345-6789")
    assert done.status == 3
    assert "[hub-unreachable]" in done.err
    assert not (tmp_path / "node" / "identity" / "token").exists()


def test_from_enrolment_to_a_joined_benchmark(
    hub: HubProcess, run: Run, printed: Callable[..., Any], tmp_path: Path
) -> None:
    """What a hospital's IT does on the first morning."""
    home, admin = Home(tmp_path / "node"), Person(hub.url, hub.admin_token)
    code = admin.do("POST", "/silos", json.dumps({"name": "Morning", "organisation": "Morning hospital"}))["code"]
    enrolled = printed(home.path, "enrol", "--hub", hub.url, "--code", str(code))
    assert enrolled["fingerprint"] == load_enrolment(home).fingerprint
    pending = printed(home.path, "status")
    assert pending["node"]["state"] == "pending"
    admin.do("POST", f"/silos/{enrolled['silo_id']}/approve", json.dumps({"fingerprint": enrolled["fingerprint"]}))
    active = printed(home.path, "status")
    assert (active["node"]["state"], active["warnings"]) == ("active", [])
    unknown = run(home.path, "benchmark", "join", "no_such_benchmark")
    assert unknown.status == 1
    assert "[benchmark-unknown]" in unknown.err
    findings = printed(home.path, "doctor")
    verdicts = {finding["code"]: finding["verdict"] for finding in findings}
    assert {verdicts[code] for code in ("SN-NET-001", "SN-NET-002", "SN-NET-003", "SN-CLK-001")} == {"well"}
    assert printed(home.path, "unenrol", "--yes") == {"silo_id": enrolled["silo_id"]}
    assert not home.token_file.exists()


def test_the_policy_is_shown_whole_and_checked(run: Run, printed: Callable[..., Any], tmp_path: Path) -> None:
    """Also the rules nobody wrote."""
    home = Home(tmp_path).create()
    nothing = ["No benchmark is allowed, so this site takes part in nothing."]
    assert printed(home.path, "policy", "check") == {"valid": True, "file": None, "notes": nothing}
    assert "rule benchmarks.allow decided" in run(home.path, "policy", "explain", "--benchmark", "one").out
    imagined = printed(home.path, "policy", "explain", "--benchmark", "one", "--organisation", "A", "--tier", "3")
    assert [(model["owner"], model["rule"]) for model in imagined["models"]] == [("A", "model_tiers")]
    joined = printed(home.path, "policy", "explain", "--benchmark", "one", "--study", "lungs")
    assert (joined["verdict"], joined["rule"]) == ("refuse", "benchmarks.allow")
    assert run(home.path, "policy", "explain").status == 1
    assert set(json.loads(run(home.path, "policy", "schema").out)["properties"]) == set(Policy.model_fields)
    home.policy_file.write_text("minimum_cohort = 50\n")
    shown = run(home.path, "policy", "show").out
    assert "minimum_cohort = 50" in shown
    assert 'results = "hold"' in shown
    home.policy_file.write_text("minimum_chort = 50\n")
    assert run(home.path, "policy", "check").status == 1
    home.policy_file.write_text("[benchmarks]\nallow = ['one']\n")
    assert printed(home.path, "benchmark", "leave", "one") == {"benchmark": "one", "joined": False}
    assert load_policy(home).benchmarks.allow == ()


def test_a_changed_log_is_found(run: Run, printed: Callable[..., Any], tmp_path: Path) -> None:
    """By the command an auditor runs."""
    home = Home(tmp_path).create()
    log = EgressLog(home.egress_log)
    for size in range(3):
        log.append(method="POST", path="/tasks/claim", kind="ClaimRequest", digest="blake3:" + "a" * 64, size=size)
    verified = printed(home.path, "log", "verify")
    assert verified["lines"] == 3
    lines = printed(home.path, "log", "--last", "2")
    assert [entry["number"] for entry in lines] == [1, 2]
    home.egress_log.write_text(home.egress_log.read_text().replace('"size":1', '"size":7'))
    done = run(home.path, "log", "verify")
    assert done.status == 1
    assert "[log-broken]" in done.err


@pytest.mark.parametrize("name", ["identity", "private"])
def test_the_doctor_finds_what_others_may_read(run: Run, tmp_path: Path, name: str) -> None:
    """With the command that repairs it."""
    home = Home(tmp_path).create()
    (home.path / name).chmod(0o755)
    done = run(home.path, "doctor", "--json")
    assert done.status == 1
    finding = next(found for found in json.loads(done.out) if found["code"] == "SN-PRM-001")
    assert finding["verdict"] == "failed"
    assert name in finding["text"]
