"""The ``medsilo`` command as a person runs it: its output, its exit status, what it remembers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from federation_hub.client import Hub
from federation_hub.client.cli import app
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import BadInput, WireError
from tests.client.commands import medsilo
from tests.client.conftest import People
from tests.sites import write_bundle


def test_login_remembers_where_the_token_lies_and_never_the_token(
    people: People, token_file: Path, tmp_path: Path
) -> None:
    done = medsilo(tmp_path, "login", "--hub", people.url, "--token-file", str(token_file), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["person"]["name"] == "Ada"
    remembered = (tmp_path / "config" / "medsilo" / "client.toml").read_text()
    assert str(token_file) in remembered
    assert people.researcher_token not in remembered
    assert medsilo(tmp_path, "model", "status").returncode == 0, "later commands need nothing more"


def test_a_token_others_can_read_is_remarked(people: People, token_file: Path, tmp_path: Path) -> None:
    token_file.chmod(0o644)
    done = medsilo(tmp_path, "login", "--hub", people.url, "--token-file", str(token_file))
    assert done.returncode == 0
    assert "chmod 600" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (("benchmark", "show", "nothing"), 1, "benchmark-unknown"),
        (("study", "show", "study-000000"), 1, "study-unknown"),
        (("model", "submit", "no.zip", "--benchmark", "toy", "--name", "x"), 1, "file-missing"),
        (("--token-file", "wrong", "model", "status"), 4, "not-authenticated"),
        (("--hub", "http://127.0.0.1:9", "benchmark", "list"), 3, "hub-unreachable"),
    ],
)
def test_a_refusal_has_a_status_and_a_code(
    people: People, token_file: Path, tmp_path: Path, arguments: tuple[str, ...], status: int, code: str
) -> None:
    (tmp_path / "wrong").write_text("msp_" + "0" * 49)
    done = medsilo(tmp_path, *arguments, "--json", hub=people.url, token_file=token_file)
    assert done.returncode == status
    assert done.stdout == ""
    assert json.loads(done.stderr)["code"] == code


def test_an_error_for_people_says_what_to_do(people: People, tmp_path: Path) -> None:
    done = medsilo(tmp_path, "benchmark", "show", "nothing", hub=people.url)
    assert "There is no such benchmark version [benchmark-unknown]" in done.stderr
    assert "Hint: List the benchmarks." in done.stderr


def test_wrong_usage_has_a_status_of_its_own(tmp_path: Path) -> None:
    assert medsilo(tmp_path, "leaderboard").returncode == 2


def test_without_a_hub_the_way_to_name_one_is_told(tmp_path: Path) -> None:
    done = medsilo(tmp_path, "benchmark", "list")
    assert done.returncode == 1
    assert "medsilo login" in done.stderr


def test_a_model_is_submitted_with_the_card_beside_it(people: People, token_file: Path, tmp_path: Path) -> None:
    import numpy as np

    write_bundle(tmp_path, {"fc.weight": np.full((2, 64), 3, np.float32)})
    (tmp_path / "model.card.toml").write_text('name = "With a card"\nlicence = "MIT"\n')
    done = medsilo(tmp_path, "model", "submit", "model.zip", "--benchmark", "toy", "--json", hub=people.url,
                   token_file=token_file)  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["card"]["licence"] == "MIT"
    assert record["digest"] == digest_file(tmp_path / "model.zip")
    board = medsilo(tmp_path, "leaderboard", "toy", hub=people.url).stdout
    assert "With a card" in board
    assert board.startswith("Synthetic data. No patient stands behind these images")


def test_a_card_with_an_unknown_key_is_refused_by_name(people: People, token_file: Path, tmp_path: Path) -> None:
    (tmp_path / "model.card.toml").write_text('name = "A"\nlicense = "MIT"\n')
    done = medsilo(
        tmp_path, "model", "submit", "model.zip", "--benchmark", "toy", hub=people.url, token_file=token_file
    )
    assert done.returncode == 1
    assert "license" in done.stderr


def test_a_bundle_with_a_pickle_is_refused_before_anything_runs(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "model.pkl").write_bytes(b"\x80\x04K\x01.")
    done = medsilo(tmp_path, "model", "check", "bundle", "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["code"] == "bundle-has-code"


@pytest.mark.parametrize("name", ["chest_phantom", "pneumonia_xray", "hippocampus_mr", "hippocampus_dicom"])
def test_the_benchmarks_of_this_installation_are_valid(tmp_path: Path, name: str) -> None:
    import benchmarks

    file = Path(benchmarks.__file__).parent / name / "benchmark.toml"
    done = medsilo(tmp_path, "benchmark", "check", str(file), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == name


def test_every_network_of_the_registry_is_listed_with_its_arguments(tmp_path: Path) -> None:
    listed = json.loads(medsilo(tmp_path, "model", "networks", "--json").stdout)
    assert {"UNet", "DenseNet", "SegResNet"} <= set(listed)
    shown = medsilo(tmp_path, "model", "networks", "UNet").stdout
    assert all(argument in shown for argument in listed["UNet"]["properties"])


@pytest.mark.slow
def test_a_new_model_is_sound_runs_in_the_sandbox_and_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for name in ("first", "again"):
        folder = tmp_path / name
        folder.mkdir()
        assert medsilo(folder, "model", "new", "mine", "--from", "chest_phantom", "--seed", "5").returncode == 0
        assert medsilo(folder, "model", "pack", "mine").returncode == 0
    assert digest_file(tmp_path / "first" / "mine.zip") == digest_file(tmp_path / "again" / "mine.zip")
    checked = medsilo(tmp_path / "first", "model", "check", "mine.zip", "--benchmark", "chest_phantom", "--json")
    assert checked.returncode == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert (found["cases"], found["runs"]) == (24, 2), "the public demo cohort, as a check node would"
    assert found["seconds"] > 0
    assert medsilo(tmp_path / "first", "model", "new", "mine", "--from", "chest_phantom").returncode == 1


@pytest.mark.slow
def test_a_bundle_whose_weights_are_anothers_fails_its_check_with_a_code(tmp_path: Path) -> None:
    assert medsilo(tmp_path, "model", "new", "mine", "--from", "chest_phantom").returncode == 0
    assert medsilo(tmp_path, "model", "new", "other", "--from", "hippocampus_mr").returncode == 0
    shutil.copy(tmp_path / "other/models/model.safetensors", tmp_path / "mine/models/model.safetensors")
    done = medsilo(tmp_path, "model", "check", "mine", "--json")
    assert done.returncode == 1
    assert json.loads(done.stderr)["code"] == "weights-mismatch"


def test_the_client_loads_neither_flask_nor_torch_nor_pandas() -> None:
    program = (
        "import sys, federation_hub.client.cli; "
        "print([name for name in ('flask', 'torch', 'monai', 'pandas', 'sqlalchemy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tokens_are_made_listed_and_revoked(people: People, token_file: Path, tmp_path: Path) -> None:
    """The secret goes to a private file or is shown once; what is revoked works no longer; no wider one is made."""

    def token(*arguments: str) -> str:
        called = ["--hub", people.url, "--token-file", str(token_file), "token", *arguments]
        result = CliRunner().invoke(app, called, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    made = json.loads(token("new", "nightly", "--scope", "researcher", "--days", "3", "--json"))
    assert Hub(people.url, made["token"]).me()["roles"] == ["researcher"]
    kept = tmp_path / "kept"
    told = token("new", "in a file", "--out", str(kept))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.read_text().strip() not in told
    with pytest.raises(BadInput):
        token("new", "again", "--out", str(kept))
    listed = json.loads(token("list", "--json"))
    assert [row["name"] for row in listed[:2]] == ["in a file", "nightly"]
    assert "nightly" in token("list")
    assert made["token"] not in json.dumps(listed)
    assert "works no longer" in token("revoke", made["view"]["token_id"])
    with pytest.raises(WireError) as caught:
        Hub(people.url, made["token"]).me()
    assert caught.value.code == "not-authenticated"
    with pytest.raises(WireError) as caught:
        token("revoke", "tok-000000000000")
    assert caught.value.code == "not-found"
    with pytest.raises(WireError) as caught:
        token("new", "wider", "--scope", "hub-admin")
    assert caught.value.code == "scope-too-wide"
