"""``medsilo study`` from a plan file to a trained model, over two sites that answer for themselves."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from federation_hub.client.plans import PlanFile, resolve_plan
from silo_node.wire.errors import BadInput
from silo_node.wire.models import ModelCard
from tests.client.commands import medsilo
from tests.client.conftest import People
from tests.sites import Person, Site, write_bundle


@pytest.fixture(scope="module")
def sites(people: People, tmp_path_factory: pytest.TempPathFactory) -> list[Site]:
    """Two silos with cohorts of the toy benchmark."""
    folder, admin = tmp_path_factory.mktemp("sites"), Person(people.url, people.process.admin_token)
    return [Site.join(folder / name, people.url, admin, f"{name} hospital") for name in ("North", "South")]


@pytest.fixture(scope="module")
def model(people: People, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of an accepted model of the researcher's."""
    bundle = write_bundle(tmp_path_factory.mktemp("model"), {"fc.weight": np.full((2, 64), 9, np.float32)})
    return str(people.researcher.submit_model(bundle, ModelCard(name="start"), "toy")["digest"])


@pytest.fixture
def nodes(people: People, sites: list[Site]) -> Iterator[None]:
    """Both sites at work: each agrees to every study and adds one to every weight."""
    ended = threading.Event()

    def run(site: Site) -> None:
        hub = site.dial()
        while not ended.is_set() and not site.consent(hub):
            ended.wait(0.1)
        hub.close()
        site.run(people.url, lambda weights, _: {name: np.ones_like(array) for name, array in weights.items()},
                 ended.is_set)  # fmt: skip

    threads = [threading.Thread(target=run, args=(site,)) for site in sites]
    for thread in threads:
        thread.start()
    yield
    ended.set()
    for thread in threads:
        thread.join(timeout=30)


def _new_plan(people: People, token_file: Path, folder: Path, name: str, model: str, *silos: str) -> Path:
    chosen = [part for silo in silos for part in ("--silo", silo)]
    done = medsilo(folder, "study", "new", name, "--benchmark", "toy", "--model", model, "--rounds", "2", *chosen,
                   "--json", hub=people.url, token_file=token_file)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / json.loads(done.stdout)["plan"]


@pytest.mark.slow
@pytest.mark.usefixtures("nodes")
def test_a_plan_becomes_a_study_and_a_study_a_model(
    people: People, token_file: Path, tmp_path: Path, sites: list[Site], model: str
) -> None:
    plan = _new_plan(people, token_file, tmp_path, "whole", model)
    checked = medsilo(tmp_path, "study", "check", str(plan), "--json", hub=people.url, token_file=token_file)
    assert set(json.loads(checked.stdout)["silos"]) == {site.silo_id for site in sites}
    told = medsilo(tmp_path, "study", "check", str(plan), hub=people.url, token_file=token_file)
    assert "Who could spoil the model?" in told.stdout
    done = medsilo(tmp_path, "study", "start", str(plan), "--watch", "--json", hub=people.url, token_file=token_file)
    assert done.returncode == 0, done.stderr
    study = json.loads(done.stdout)
    assert (study["state"], study["committed"]) == ("completed", 2)
    shown = medsilo(tmp_path, "study", "show", study["study_id"], hub=people.url, token_file=token_file)
    assert study["final_model"] in shown.stdout
    assert "validation only" in shown.stdout
    status = medsilo(tmp_path, "model", "status", study["final_model"], "--json", hub=people.url, token_file=token_file)
    assert json.loads(status.stdout)["lineage"]["study"] == study["study_id"]


def test_a_study_waits_for_consent_and_can_be_stopped(
    people: People, token_file: Path, tmp_path: Path, sites: list[Site], model: str
) -> None:
    """Stopping is also the way to end the wait of another terminal."""
    hub = people.researcher
    plan = _new_plan(people, token_file, tmp_path, "stopped", model, "North hospital")
    waiting = threading.Thread(
        target=medsilo,
        args=(tmp_path, "study", "start", str(plan)),
        kwargs={"hub": people.url, "token_file": token_file},
    )
    waiting.start()
    found: list[str] = []
    while not found:
        found = [entry["study_id"] for entry in hub.studies() if entry["name"] == "stopped"]
        assert found or waiting.is_alive()
    assert hub.study(found[0])["state"] == "recruiting"
    assert medsilo(tmp_path, "study", "stop", found[0], hub=people.url, token_file=token_file).returncode == 0
    waiting.join(timeout=60)
    assert not waiting.is_alive()
    assert hub.study(found[0])["state"] == "stopped"


def test_fedbn_on_a_model_with_nothing_to_keep_is_told_before_anybody_is_asked(
    people: People, sites: list[Site], model: str
) -> None:
    """Its instance normalisation has no weights, so it were federated averaging by another name."""
    plan = {"name": "idle", "title": "Idle", "benchmark": "toy", "model": model, "personal": "fedbn"}
    file = PlanFile.model_validate({**plan, "silos": tuple(site.silo_id for site in sites)})
    with pytest.raises(BadInput, match="plan-fedbn-idle"):
        resolve_plan(file, people.researcher)


def test_a_silo_that_is_not_there_is_told_with_the_nearest_name(
    people: People, token_file: Path, tmp_path: Path, sites: list[Site], model: str
) -> None:
    plan = _new_plan(people, token_file, tmp_path, "wrong", model, "Nort hospital")
    done = medsilo(tmp_path, "study", "check", str(plan), hub=people.url, token_file=token_file)
    assert done.returncode == 1
    assert "did you mean 'North hospital'?" in done.stderr
