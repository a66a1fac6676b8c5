"""What comes out of the jail is read as if an enemy had written it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from silo_node.agent.claims import coarse
from silo_node.agent.estimation import estimated
from silo_node.agent.scores import adopt_partial, keep_scores, read_scores, scores_path
from silo_node.agent.updates import check_update
from silo_node.cohorts.manifest import ManifestCase
from silo_node.policy.disclosure import stricter
from silo_node.policy.schema import DisclosureRules
from silo_node.state import Home
from silo_node.wire.benchmarks import DisclosureLimits
from silo_node.wire.canonical import message_digest
from silo_node.wire.errors import WorkFailed
from silo_node.wire.estimates import ClassEstimates, StructureEstimates
from tests.silo.preparations import classification, segmentation

TENSORS = {"a": np.ones((2, 3), np.float32), "b": np.zeros(4, np.float32)}
CASES = [f"{number:016x}" for number in range(6)]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A global model's weights, with the metadata a hub may write."""
    save_file(TENSORS, tmp_path / "weights", metadata={"format": "pt"})
    return tmp_path / "weights"


def update(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "update"
    path.write_bytes(data)
    return path


def test_an_update_of_exactly_the_models_tensors_may_wait_to_leave(weights: Path, tmp_path: Path) -> None:
    """Their order in the file does not matter."""
    check_update(weights, update(tmp_path, save({name: TENSORS[name] for name in ("b", "a")})))


def with_header(change: dict[str, Any], tail: bytes = b"", padding: bytes = b"") -> bytes:
    """Return an update whose header was changed by hand."""
    data = save(TENSORS)
    length = int.from_bytes(data[:8], "little")
    header = json.dumps({**json.loads(data[8 : 8 + length]), **change}, separators=(",", ":")).encode() + padding
    return len(header).to_bytes(8, "little") + header + data[8 + length :] + tail


@pytest.mark.parametrize(
    "data",
    [
        save({**TENSORS, "patient": np.zeros(1000, np.float32)}),
        save({"a": TENSORS["a"]}),
        save({**TENSORS, "a": np.ones((3, 2), np.float32)}),
        save({**TENSORS, "a": np.ones((2, 3), np.float64)}),
        save(TENSORS, metadata={"note": "Erika Musterfrau, born 1964"}),
        with_header({}, tail=b"a patient's image"),
        with_header({"b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}),
        with_header({"b": {"dtype": "F32", "shape": [4], "data_offsets": [30, 46]}}),
        with_header({"b": {"dtype": "F32", "shape": [4]}}),
        with_header({"b": {"dtype": "F32", "shape": [4], "data_offsets": [24, 40], "note": "Erika"}}),
        with_header({}, padding=b" " * 64),
        with_header({"b": "hello"}),
        b"",
        b"\xff" * 64,
        (10**12).to_bytes(8, "little") + b"{}",
    ],
)
def test_an_update_with_room_for_anything_else_does_not_leave(weights: Path, tmp_path: Path, data: bytes) -> None:
    """Text, other tensors, gaps and tails could carry a patient's image."""
    with pytest.raises(WorkFailed) as caught:
        check_update(weights, update(tmp_path, data))
    assert caught.value.code == "output-invalid"


def line(case: str, **changes: Any) -> str:
    """Return one line of scores as the worker writes it."""
    value = {
        "case": case,
        "patient": "p" + case,
        "label": 1,
        "failed": False,
        "scores": [0.25, 0.75],
        "seconds": 0.01,
        "peak_memory_mb": 200.0,
        "attributes": {"sex": "f"},
    }
    return json.dumps({**value, **changes})


def sheet(tmp_path: Path, lines: list[str]) -> Path:
    path = tmp_path / "scores.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_a_whole_sheet_of_scores_is_read(tmp_path: Path) -> None:
    """In any order, each case once."""
    found = read_scores(sheet(tmp_path, [line(case) for case in reversed(CASES)]), CASES)
    assert {score.case for score in found} == set(CASES)


@pytest.mark.parametrize(
    "lines",
    [
        [line(case) for case in CASES[:-1]],
        [line(case) for case in [*CASES, CASES[0]]],
        [line(case) for case in [*CASES[:-1], "f" * 16]],
        [*(line(case) for case in CASES[:-1]), line(CASES[-1], note="Erika Musterfrau")],
        [*(line(case) for case in CASES[:-1]), line(CASES[-1], scores=[0.5, 1.5])],
        [*(line(case) for case in CASES[:-1]), line(CASES[-1]).replace("0.25", "NaN")],
        [*(line(case) for case in CASES[:-1]), line(CASES[-1], failed="no")],
        [*(line(case) for case in CASES[:-1]), line(CASES[-1], patient="x" * 100_000)],
        [*(line(case) for case in CASES[:-1]), "not json"],
    ],
)
def test_scores_that_are_not_as_declared_are_not_used(tmp_path: Path, lines: list[str]) -> None:
    """A missing case, a second answer, a case of nobody, a field too many: nothing of the sheet counts."""
    with pytest.raises(WorkFailed) as caught:
        read_scores(sheet(tmp_path, lines), CASES)
    assert caught.value.code == "output-invalid"
    assert "Erika" not in str(caught.value)


def test_a_link_in_place_of_a_sheet_is_not_followed(tmp_path: Path) -> None:
    """It could lead to any file the node may read."""
    (tmp_path / "link.jsonl").symlink_to(sheet(tmp_path, [line(case) for case in CASES]))
    for path in (tmp_path / "link.jsonl", tmp_path / "absent.jsonl"):
        with pytest.raises(WorkFailed):
            read_scores(path, CASES)


def test_scores_are_kept_for_each_benchmark_cohort_and_model(tmp_path: Path) -> None:
    """Readable by their owner alone; what an interrupted run had further is taken over."""
    home, model = Home(tmp_path / "node").create(), "blake3:" + "c" * 64
    kept = scores_path(home, "blake3:" + "a" * 64, "keyed-blake3:" + "b" * 64, model)
    keep_scores(read_scores(sheet(tmp_path, [line(CASES[0])]), CASES[:1]), kept)
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept != scores_path(home, "blake3:" + "b" * 64, "keyed-blake3:" + "b" * 64, model)
    folders = [tmp_path / name for name in ("out", "short", "long")]
    for folder, count in zip(folders, (1, 0, 3), strict=True):
        (folder / "scores").mkdir(parents=True)
        (folder / "scores" / f"{'c' * 64}.jsonl").write_text("line\n" * count)
    adopt_partial(folders[1:], folders[0], [model])
    assert (folders[0] / "scores" / f"{'c' * 64}.jsonl").read_text() == "line\n" * 3


def manifest_case(number: int, label: int | None) -> ManifestCase:
    case = f"{number:016x}"
    return ManifestCase(
        case=case,
        patient=case,
        split="test",
        path=f"cases/{case}.safetensors",
        digest="blake3:" + "d" * 64,
        label=label,
        attributes={},
    )


def test_the_statistics_of_a_classification_come_back_as_the_wire_declares_them(tmp_path: Path) -> None:
    """Computed in a process of their own, from the cohort's labels and not from what the jail says they are."""
    generator = np.random.default_rng(5)
    cases = [manifest_case(number, number % 2) for number in range(80)]
    lines = []
    for case in cases:
        score = float(np.clip(0.5 + 0.2 * ((case.label or 0) - 0.5) + generator.normal(0, 0.2), 0, 1))
        lines.append(line(case.case, label=0, scores=[1 - score, score]))
    definition = classification()
    found = estimated(definition, message_digest(definition), cases, [sheet(tmp_path, lines)], seed=1)
    (entry,) = [ClassEstimates.model_validate_json(json.dumps(one)) for one in found["classes"]]
    assert (entry.label, entry.positives, entry.negatives) == ("pneumonia", 40, 40)
    assert 0.5 < entry.metrics[0].theta[0] < 1
    assert (found["cases"], found["failed"]) == (80, [0])
    assert found["resources"] == [{"seconds_mean": 0.01, "seconds_sd": 0.0, "peak_memory_mb": 200.0}]


def test_the_statistics_of_a_segmentation_come_back_as_the_wire_declares_them(tmp_path: Path) -> None:
    """The mean over structures, and each structure."""
    definition = segmentation()
    cases = [manifest_case(number, None) for number in range(30)]
    structure = {"nsd": 0.9, "hd95": 2.0, "volume_ml": 1.0, "reference_ml": 1.1, "empty_reference": False}
    lines = [
        line(
            case.case,
            label=None,
            scores=None,
            structures={
                name: {**structure, "dice": 0.7 + 0.2 * (place / len(cases))} for name in ("anterior", "posterior")
            },
        )
        for place, case in enumerate(cases)
    ]
    path = sheet(tmp_path, lines)
    read_scores(path, [case.case for case in cases])
    found = estimated(definition, message_digest(definition), cases, [path], seed=1)
    entries = [StructureEstimates.model_validate_json(json.dumps(one)) for one in found["structures"]]
    assert [entry.label for entry in entries] == ["all", "anterior", "posterior"]
    assert all(0.79 < entry.metrics[0].theta[0] < 0.80 for entry in entries)


def test_statistics_that_fail_are_a_coded_failure(tmp_path: Path) -> None:
    """Nothing of their complaint leaves the site."""
    with pytest.raises(WorkFailed) as caught:
        estimated(classification(), "blake3:" + "a" * 64, [], [tmp_path / "absent"], seed=1)
    assert caught.value.code == "work-failed"


@pytest.mark.parametrize(
    ("done", "total", "told"),
    [(0, 0, (0, 0)), (29, 600, (0, 20)), (30, 600, (1, 20)), (600, 600, (20, 20)), (9**9, 7, (20, 20))],
)
def test_progress_is_told_in_twentieths(done: int, total: int, told: tuple[int, int]) -> None:
    """The counts are the jail's: two numbers of its choice every five seconds would carry an image away in a day."""
    assert coarse(done, total) == told


def test_a_sites_own_limits_count_where_they_are_stricter() -> None:
    """For each limit by itself; the fewest sites are the hub's affair."""
    benchmark = DisclosureLimits(minimum_class=20, minimum_cell=10, decimals=4)
    assert stricter(benchmark, DisclosureRules()) == benchmark
    strict = stricter(benchmark, DisclosureRules(minimum_class=50, minimum_cell=5, decimals=2))
    assert (strict.minimum_class, strict.minimum_cell, strict.decimals) == (50, 10, 2)
