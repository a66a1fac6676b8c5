"""A plan tried out in one process: the same numbers each time, a patient at one site only, refusals with codes."""

import json
import shutil
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from federation_hub.client.cli import app
from federation_hub.client.simulated_sites import deal_cohort
from pipelines.authoring import initial_weights, make_bundle, new_profile
from pipelines.bundles import read_bundle
from pipelines.bundles.weights import read_tensors
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import BadInput, MedSiloError
from tests.unit.pipelines.examples import CLASSIFIER, question, tiny_bundle, tiny_profile, write_cohort

QUESTION = """
name = "tiny"
version = 1
title = "Tiny pictures"
summary = "For tests."
task = "classification"
modality = "DX"
provenance = "synthetic"
data_source = "Made up"
licence = "CC0-1.0"
preparation = []
labels = ["normal", "finding"]

[input]
channels = 1
shape = [8, 8]

[[metrics]]
name = "auroc"
primary = true
"""
PLAN = """
name = "tried_out"
title = "Tried out"
benchmark = "tiny"
model = "{model}"
silos = ["anybody"]
rounds = 2
strategy = "fedadam"
robust = "{robust}"
seed = 3

[local]
learning_rate = 0.01
proximal = 0.1
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a bundle, a cohort, a benchmark and a plan."""
    bundle = tiny_bundle(tmp_path / "model.zip")
    write_cohort(tmp_path / "cohort", train=24, validation=16)
    (tmp_path / "benchmark.toml").write_text(QUESTION)
    (tmp_path / "plan.toml").write_text(PLAN.format(model=digest_file(bundle), robust="median"))
    return tmp_path


def simulate(place: Path, *more: str) -> str:
    words = ["simulate", str(place / "plan.toml"), "--bundle", str(place / "model.zip"), "--cohort",
             str(place / "cohort"), "--definition", str(place / "benchmark.toml"), "--sites", "3", *more]  # fmt: skip
    return CliRunner().invoke(app, words, catch_exceptions=False).stdout


def test_a_plan_gives_the_same_model_every_time(place: Path) -> None:
    """Bit for bit, with local training, FedProx, a robust rule and an optimiser with moments; and it moves."""
    first = json.loads(simulate(place, "--json", "--out", str(place / "last")))
    assert first == json.loads(simulate(place, "--json"))
    assert [entry["counted"] for entry in first["rounds"]] == [3, 3]
    assert digest_file(place / "last") == first["final"] == first["rounds"][first["final_round"] - 1]["model"]
    assert first["rounds"][-1]["model"] != first["rounds"][0]["model"]
    assert all(np.isfinite(array).all() for array in load_file(place / "last").values())


def test_a_private_plan_is_tried_out_with_its_noise(place: Path) -> None:
    """From the plan's seed, so the same again; a stricter promise moves the model differently."""
    plan = (place / "plan.toml").read_text().replace("[local]", '[privacy]\nunit = "patient"\nepsilon = {}\n[local]')
    (place / "plan.toml").write_text(plan.format(8.0))
    loose = json.loads(simulate(place, "--json"))
    assert loose == json.loads(simulate(place, "--json"))
    (place / "plan.toml").write_text(plan.format(1.0))
    assert json.loads(simulate(place, "--json"))["rounds"] != loose["rounds"]


def test_a_model_that_cannot_be_trained_privately_is_made_so(tmp_path: Path) -> None:
    """Batch normalisation is exchanged, the other weights are taken over, and the answer turns from no to yes."""
    profile = deepcopy(tiny_profile())
    profile["network"]["args"]["norm"] = "batch"
    bundle, out = tmp_path / "batch.zip", tmp_path / "group.zip"
    weights = initial_weights(profile, 4)
    make_bundle(bundle, profile, weights, title="Batch", description="For tests.", authors="Test")
    refused = CliRunner().invoke(app, ["model", "dp-ready", str(bundle)])
    assert (refused.exit_code, "normalises over the batch" in refused.stdout) == (1, True)
    done = CliRunner().invoke(app, ["model", "dp-ready", str(bundle), "--out", str(out), "--json"])
    assert json.loads(done.stdout)["ready"], done.stdout
    read = read_bundle(out)
    kept = read_tensors(out, read.index)
    assert set(kept) < set(weights)
    assert all(np.array_equal(kept[name], weights[name]) for name in kept)


def test_without_an_aggregator_each_site_ends_with_a_model_of_its_own(place: Path) -> None:
    """Nobody is heard before the first models are shown; the same plan gives the same scores again."""
    plan = (place / "plan.toml").read_text().replace('robust = "median"\n', "").replace('"fedadam"', '"fedavg"')
    (place / "plan.toml").write_text(plan + '[decentralised]\ndegree = 2\nrule = "gossip"\n')
    first = json.loads(simulate(place, "--json"))
    assert first == json.loads(simulate(place, "--json"))
    assert [set(entry["heard"].values()) for entry in first["rounds"]] == [{0}, {2}, {2}]
    (place / "plan.toml").write_text(plan + "[decentralised]\ndegree = 3\n")
    with pytest.raises(BadInput, match="3 neighbours each"):
        simulate(place)
    (place / "plan.toml").write_text(plan.replace('"fedavg"', '"fedadam"') + "[decentralised]\n")
    with pytest.raises(BadInput, match="plan-decentralised"):
        simulate(place)


def test_the_table_has_a_line_for_the_start_and_each_round(place: Path) -> None:
    lines = [line.split()[0] for line in simulate(place).splitlines() if line.strip()]
    assert [word for word in lines if word in ("start", "1", "2", "Model")] == ["start", "1", "2", "Model"]


def test_a_plan_that_cannot_hold_is_refused_as_the_hub_would(place: Path) -> None:
    text = (place / "plan.toml").read_text()
    (place / "plan.toml").write_text(text.replace('"median"', '"krum"'))
    with pytest.raises(BadInput, match="plan-rule-sites"):
        simulate(place)


def test_fedbn_is_refused_where_the_network_has_nothing_to_keep(place: Path) -> None:
    """Else it were federated averaging under another name; with weights in its layers the same plan runs."""
    plan = (place / "plan.toml").read_text().replace("seed = 3", 'seed = 3\npersonal = "fedbn"')
    bare, profile = place / "bare.zip", new_profile(question(), "Classifier", {**CLASSIFIER, "norm": "instance"})
    make_bundle(bare, profile, initial_weights(profile, 0), title="Bare", description="For tests.", authors="Test")
    (place / "plan.toml").write_text(plan)
    assert json.loads(simulate(place, "--json"))["rounds"]
    (place / "plan.toml").write_text(plan.replace(digest_file(place / "model.zip"), digest_file(bare)))
    bare.replace(place / "model.zip")
    with pytest.raises(BadInput, match="plan-fedbn-idle"):
        simulate(place)


def test_a_masked_plan_adds_up_in_fixed_point(place: Path) -> None:
    """Nearly the model without masks, and not quite: the sums are those a masked federation makes."""
    text = (place / "plan.toml").read_text().replace('"median"', '"mean"')
    (place / "plan.toml").write_text(text)
    simulate(place, "--out", str(place / "plain"))
    (place / "plan.toml").write_text(text + "\n[secure_aggregation]\nlargest_change = 4.0\n")
    simulate(place, "--out", str(place / "masked"))
    plain, masked = load_file(place / "plain"), load_file(place / "masked")
    assert any(plain[name].tobytes() != masked[name].tobytes() for name in plain)
    assert all(np.allclose(plain[name], masked[name], atol=1e-3) for name in plain)


def test_updates_over_the_bound_are_not_counted(place: Path) -> None:
    text = (place / "plan.toml").read_text()
    (place / "plan.toml").write_text(text.replace("seed = 3", "seed = 3\nnorm_bound = 1e-9"))
    with pytest.raises(MedSiloError, match="quorum-missed"):
        simulate(place)


def test_another_bundle_than_the_plans_is_refused(place: Path) -> None:
    tiny_bundle(place / "model.zip", seed=1)
    with pytest.raises(BadInput, match="not the plan's model"):
        simulate(place)


def test_every_patient_is_dealt_to_exactly_one_site(tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", train=24)
    dealt = deal_cohort(cohort, tmp_path / "sites", ("silo-000001", "silo-000002", "silo-000003"), seed=1)
    manifests = [json.loads((folder / "manifest.json").read_text())["cases"] for folder in dealt]
    patients = [{entry["patient"] for entry in cases} for cases in manifests]
    whole = {entry["case"] for entry in json.loads((cohort / "manifest.json").read_text())["cases"]}
    assert not patients[0] & patients[1] | patients[1] & patients[2] | patients[0] & patients[2]
    assert sorted(entry["case"] for cases in manifests for entry in cases) == sorted(whole)
    with pytest.raises(BadInput, match="cohort-too-small"):
        deal_cohort(cohort, tmp_path / "more", tuple(f"silo-{number:06}" for number in range(99)), seed=1)


def test_the_stop_rule_ends_a_simulation_as_it_ends_a_study(place: Path) -> None:
    """No gain is large enough for this plan: the second round's updates are not folded, the first model is kept."""
    shutil.rmtree(place / "cohort")
    write_cohort(place / "cohort", train=24, validation=60)
    limits = "[disclosure]\nminimum_class = 5\nminimum_cell = 5\n"  # or no site could tell a score
    (place / "benchmark.toml").write_text(QUESTION + limits)
    plan = place / "plan.toml"
    text = plan.read_text().replace("rounds = 2", "rounds = 6")
    plan.write_text(text + "[evaluation]\npatience = 1\nleast_gain = 1000.0\n")
    found = json.loads(simulate(place, "--json"))
    assert (found["stopped_early"], found["final_round"], len(found["rounds"])) == (True, 1, 1)
    assert "The stop rule was met." in simulate(place)
