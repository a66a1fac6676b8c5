"""The hostile corpus is refused by the hub's look and by the site's own, each file with its code, and nothing runs."""

import json
from pathlib import Path

import pytest

from federation_hub.models.inspection import judge_bundle
from pipelines.job import CheckJob, Inspected, InspectJob, ModelFile
from silo_node.sandbox import Bind, Limits, choose
from silo_node.sandbox.grant import INSPECTION
from silo_node.sandbox.work import run_job
from silo_node.wire.digests import digest_bytes
from silo_node.wire.errors import PROBLEMS, MedSiloError
from tests.hostile.corpus import CORPUS, DIGEST, MARK, Hostile, container
from tests.hostile.onnx_models import classifier, packed
from tests.unit.pipelines.examples import definition, tiny_bundle


def made(entry: Hostile, place: Path) -> Path:
    """Make one file of the corpus; Python's writer warns of what it is asked to write."""
    place.mkdir()
    return entry.make(place)


def test_the_corpus_is_large_and_each_file_has_a_name_and_a_registered_code() -> None:
    """At least forty, so that a shrinking corpus is noticed."""
    assert len(CORPUS) >= 60
    assert len({entry.name for entry in CORPUS}) == len(CORPUS)
    assert {entry.code for entry in CORPUS} <= PROBLEMS.keys()


@pytest.mark.parametrize("entry", CORPUS, ids=lambda entry: entry.name.replace(" ", "-"))
def test_the_hub_refuses_it_with_its_code(entry: Hostile, tmp_path: Path) -> None:
    """By reading alone: it is neither unpacked nor built."""
    path = made(entry, tmp_path / "x")
    before = {place: place.stat().st_mtime_ns for place in tmp_path.rglob("*")}
    with pytest.raises(MedSiloError) as refused:
        judge_bundle(path, definition())
    assert refused.value.code == entry.code
    assert {place: place.stat().st_mtime_ns for place in tmp_path.rglob("*")} == before
    assert not Path(MARK).exists()


def test_an_honest_model_of_tier_two_is_taken_only_where_the_operator_says_so(tmp_path: Path) -> None:
    """Sound ONNX is still another tier."""
    path = packed(tmp_path, classifier().SerializeToString())
    with pytest.raises(MedSiloError, match="policy-model-tier"):
        judge_bundle(path, definition())
    assert judge_bundle(path, definition(), (1, 2)).network == "ONNX"


def test_a_container_is_taken_only_where_the_operator_says_so_and_shown_as_what_it_is(tmp_path: Path) -> None:
    """Its image and its command are on the model's page; what the image holds nobody can judge statically."""
    path = container()(tmp_path)
    for tiers in ((1,), (1, 2)):
        with pytest.raises(MedSiloError, match="policy-model-tier"):
            judge_bundle(path, definition(), tiers)
    found = judge_bundle(path, definition(), (1, 2, 3))
    assert found.network == "container"
    assert found.arguments == {"image": f"example.org/model@{DIGEST}", "command": ["/predict"]}


def test_an_honest_model_of_tier_two_runs_in_the_jail(tmp_path: Path) -> None:
    """Its engine needs no more than torch does."""
    path, out = packed(tmp_path, classifier().SerializeToString()), tmp_path / "out"
    out.mkdir()
    job = CheckJob(bundle=Path("/models/a.zip"), definition=definition(), out=Path("/out"))
    binds = [Bind(path, "/models/a.zip"), Bind(out, "/out", writable=True)]
    run_job(choose(), job, binds, Limits(wall_seconds=120), scratch=tmp_path)
    assert json.loads((out / "check.json").read_text())["network"] == "ONNX"


def test_a_site_refuses_every_file_again_in_a_jail_and_lets_an_honest_one_pass(tmp_path: Path) -> None:
    """One jailed process judges them all; none of them ends it, and an honest bundle after them is still seen."""
    paths = [made(entry, tmp_path / f"{number}") for number, entry in enumerate(CORPUS)]
    paths.append(tiny_bundle(tmp_path / "honest.zip"))
    files = [
        ModelFile(digest=digest_bytes(str(number).encode()), path=Path(f"/models/{number}.zip"))
        for number in range(len(paths))
    ]
    out = tmp_path / "out"
    out.mkdir()
    binds = [Bind(path, str(file.path)) for path, file in zip(paths, files, strict=True)]
    job = InspectJob(definition=definition(), models=tuple(files), out=Path("/out"))
    run_job(choose(), job, [*binds, Bind(out, "/out", writable=True)], INSPECTION, scratch=tmp_path)
    verdicts = Inspected.model_validate(json.loads((out / "inspected.json").read_text())).models
    assert [verdict.code for verdict in verdicts] == [*(entry.code for entry in CORPUS), None]
    assert verdicts[-1].tier == 1
    assert not Path(MARK).exists()
