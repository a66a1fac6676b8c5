"""The hub as its operator runs it: one process that starts by itself, ends when asked, and keeps what it had."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from typer.testing import CliRunner

from benchmarks.definition import FILE, FOLDER
from federation_hub.cli import app
from federation_hub.cli.session import Session
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import MedSiloError
from silo_node.wire.transfers import OFFSET_HEADER
from tests.conftest import HubProcess, start_hub, stop_hub

pytestmark = pytest.mark.slow


def operator(home: Path, *arguments: str) -> str:
    """Run a ``federation-hub`` command in this process and return what it printed."""
    result = CliRunner().invoke(app, ["--home", str(home), *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def call(hub: HubProcess, method: str, path: str, token: str, **arguments) -> requests.Response:  # type: ignore[no-untyped-def]
    """Send one request to a running hub."""
    headers = {"Authorization": f"Bearer {token}", **arguments.pop("headers", {})}
    return requests.request(method, f"{hub.url}/api/v1{path}", headers=headers, timeout=10, **arguments)


def test_up_makes_everything_and_says_where_it_is(hub: HubProcess) -> None:
    """A home folder that was empty has a database, a key, blobs and the admin's token, readable by the owner alone."""
    assert requests.get(f"{hub.url}/readyz", timeout=10).text == "ready\n"
    assert call(hub, "GET", "/me", hub.admin_token).json()["name"] == "admin"
    for name in ("hub.sqlite", "key.pem", "blobs", "admin-token"):
        assert (hub.home / name).exists()
    assert (hub.home / "admin-token").stat().st_mode & 0o077 == 0


def test_the_command_line_works_beside_the_running_hub(hub: HubProcess, tmp_path: Path) -> None:
    """People, silos and benchmarks are administered on the home folder while the hub serves."""
    added = json.loads(
        operator(hub.home, "person", "add", "Cleo", "--role", "researcher", "--organisation", "Lab", "--json")
    )
    assert call(hub, "GET", "/me", added["token"]).json()["organisation"] == "Lab"
    invited = json.loads(operator(hub.home, "silo", "invite", "North", "--organisation", "North Hospital", "--json"))
    assert invited["silo_id"] in operator(hub.home, "silo", "list")
    file = tmp_path / "benchmark.toml"
    file.write_text((FOLDER / "chest_phantom" / FILE).read_text().replace('"chest_phantom"', '"command_line"', 1))
    published = json.loads(operator(hub.home, "benchmark", "publish", str(file), "--json"))
    assert requests.get(f"{hub.url}/api/v1/benchmarks/command_line", timeout=10).json()["digest"] == published["digest"]


def test_a_refused_command_says_its_code_and_ends_with_one(tmp_path: Path) -> None:
    """Scripts read the code; people read what to do."""
    called = [sys.executable, "-m", "federation_hub.cli", "--home", str(tmp_path / "home"), "benchmark", "publish"]
    refused = subprocess.run([*called, str(tmp_path / "none.toml"), "--json"], capture_output=True, text=True)
    assert (refused.returncode, json.loads(refused.stderr)["code"]) == (1, "file-missing")
    with pytest.raises(MedSiloError, match="not-found"):
        operator(tmp_path / "home", "silo", "approve", "silo-none00", "0" * 32)


def test_a_command_prints_its_result_and_nothing_else(hub: HubProcess, tmp_path: Path) -> None:
    """Also one that asks the hub for each of its pages, of which the hub writes a line into its log."""
    made = json.loads(hub.command("export-static", str(tmp_path / "site"), "--json"))
    assert made["pages"] > 1


def test_two_hubs_never_run_on_one_home(hub: HubProcess) -> None:
    """They would run every study twice."""
    with pytest.raises(MedSiloError, match="state-locked"), Session(hub.home).alone():
        pytest.fail("the home folder was free")


def test_a_killed_hub_comes_back_with_everything_and_ends_when_asked(tmp_path: Path) -> None:
    """Tokens, benchmarks and half of an upload are there after ``kill -9``; SIGTERM ends it with status 0."""
    hub = start_hub(tmp_path / "home")
    ada = json.loads(operator(hub.home, "person", "add", "Ada", "--role", "researcher", "--json"))["token"]
    data = bytes(range(256)) * 1000
    body = {"digest": digest_bytes(data), "size": len(data), "purpose": "model"}
    upload = f"/uploads/{call(hub, 'POST', '/uploads', ada, json=body).json()['upload_id']}"
    call(hub, "PATCH", upload, ada, data=data[:100_000], headers={OFFSET_HEADER: "0"})
    hub.process.kill()
    hub.process.wait()
    hub = start_hub(tmp_path / "home")
    assert call(hub, "GET", "/me", hub.admin_token).json()["name"] == "admin"
    assert call(hub, "GET", upload, ada).json()["offset"] == 100_000
    rest = call(hub, "PATCH", upload, ada, data=data[100_000:], headers={OFFSET_HEADER: "100000"})
    assert rest.json()["complete"]
    assert stop_hub(hub) == 0


def test_starting_loads_no_imaging() -> None:
    """The hub never runs a model, so it never pays for torch; the engine is loaded where studies run."""
    heavy = ("torch", "monai", "dbos", "scipy", "alembic")
    code = f"import sys, federation_hub.app, federation_hub.cli; print([n for n in {heavy} if n in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
