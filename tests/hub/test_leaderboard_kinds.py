"""Boards of every kind of benchmark: structures, lower is better, several classes, sites that can tell nothing."""

import json
from typing import Any

import numpy as np
import pytest

from benchmarks.statistics.cases import Cohort, ExpectedCase, measured_cases, scored_cases
from benchmarks.statistics.estimate import estimate_body
from benchmarks.statistics.rules import benchmark_rules
from federation_hub.leaderboards.board import Board
from federation_hub.leaderboards.csv_table import board_csv
from federation_hub.leaderboards.labels import public_sites
from federation_hub.leaderboards.query import SORTS, BoardQuery
from federation_hub.leaderboards.reading import read_board
from federation_hub.leaderboards.snapshots import AcceptedBlock, BoardInputs, ListedModel, snapshot_bytes
from federation_hub.leaderboards.verdict import verdict
from federation_hub.leaderboards.view import board_view
from tests.hub.federation import definition

CASES = 90
DIGEST = "blake3:" + "d" * 64
MODELS = tuple(f"blake3:{index:064x}" for index in range(3))
SEGMENTATION: dict[str, Any] = {
    "task": "segmentation",
    "labels": ["background", "anterior", "posterior"],
    "input": {"channels": 1, "shape": [32, 32, 32]},
    "modality": "MR",
}


def board_of(benchmark: dict[str, Any], bodies: list[dict[str, Any]]) -> Board:
    """Return the board of these estimates, one a site."""
    blocks = tuple(
        AcceptedBlock(
            digest=f"blake3:{index:064x}",
            silo_id=f"silo-00000{index}",
            text=json.dumps(
                {
                    "silo_id": f"silo-00000{index}",
                    "finished": "2026-11-21T00:00:00Z",
                    "models": list(MODELS),
                    **body,
                }
            ),
        )
        for index, body in enumerate(bodies)
    )
    models = tuple(ListedModel(digest, f"Model {digest[-1]}", False, "Lab", None) for digest in MODELS)
    sites = public_sites((block.silo_id, "Hospital", "pseudonym") for block in blocks)
    return read_board(snapshot_bytes(BoardInputs(benchmark, DIGEST, blocks, models, sites)))


def segmented(benchmark: dict[str, Any], site: int) -> dict[str, Any]:
    """Return a site's estimates of three models, the first the best; the second structure is harder."""
    rng = np.random.default_rng(site)
    cohort = Cohort(tuple(ExpectedCase(f"{index:04d}", f"{index:04d}") for index in range(CASES)))
    answers = []
    for model in range(3):
        lines = []
        for case in range(CASES):
            structures = {}
            for place, label in enumerate(("anterior", "posterior")):
                dice = float(np.clip(0.92 - 0.08 * model - 0.05 * place - 0.05 * rng.random(), 0, 1))
                sizes = {"volume_ml": 2.0, "reference_ml": 2.1, "empty_reference": False}
                structures[label] = {"dice": dice, "nsd": dice, "hd95": 20 * (1 - dice), **sizes}
            lines.append({"case": f"{case:04d}", "failed": False, "structures": structures})
        answers.append(lines)
    measured = measured_cases(
        cohort, answers, structures=("anterior", "posterior"), metrics=[one["name"] for one in benchmark["metrics"]]
    )
    return estimate_body(measured, benchmark_rules(benchmark, digest=DIGEST), rng=rng)


def scored(benchmark: dict[str, Any], site: int, labels: np.ndarray) -> dict[str, Any]:
    """Return a site's estimates of three classifiers on cases of these classes."""
    rng = np.random.default_rng(site)
    classes = len(benchmark["labels"])
    cohort = Cohort(
        tuple(ExpectedCase(f"{index:04d}", f"{index:04d}", int(label)) for index, label in enumerate(labels))
    )
    answers = []
    for model in range(3):
        raw = rng.normal(size=(len(labels), classes)) + (3 - model) * np.eye(classes)[labels]
        shares = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
        answers.append(
            [{"case": f"{index:04d}", "failed": False, "scores": row.tolist()} for index, row in enumerate(shares)]
        )
    cases = scored_cases(cohort, answers, classes=classes)
    return estimate_body(cases, benchmark_rules(benchmark, digest=DIGEST), rng=rng)


def read_out(board: Board) -> None:
    """Do everything pages do with a board, but for the template."""
    for sort in SORTS:
        assert len(board_view(board, BoardQuery(sort=sort), "/b").rows) == len(board.entries)
    assert len(board_csv(board).splitlines()) == 1 + len(board.entries)


def test_a_segmentation_board_ranks_the_mean_and_shows_each_structure() -> None:
    """The harder structure is seen to be harder."""
    metrics = [{"name": "dice", "primary": True, "floor": 0.8}, {"name": "nsd", "tolerance_mm": 1.0}]
    benchmark = definition(**SEGMENTATION, metrics=metrics).model_dump(mode="json")
    board = board_of(benchmark, [segmented(benchmark, site) for site in range(4)])
    best = next(entry for entry in board.entries if entry.digest == MODELS[0])
    assert best.rank_low == 1
    anterior, posterior = best.labels["anterior"].value, best.labels["posterior"].value
    assert anterior is not None
    assert posterior is not None
    assert anterior > posterior
    assert best.estimate.value == pytest.approx((anterior + posterior) / 2, abs=1e-4)
    read_out(board)


def test_on_a_board_where_lower_is_better_the_largest_distance_is_the_worst() -> None:
    """Order, worst site and floor all turn round."""
    metrics = [{"name": "hd95", "primary": True, "cap_mm": 50.0, "floor": 1.5}, {"name": "dice"}]
    benchmark = definition(**SEGMENTATION, metrics=metrics).model_dump(mode="json")
    board = board_of(benchmark, [segmented(benchmark, site) for site in range(4)])
    assert board.direction == "lower"
    first = next(entry for entry in board.entries if entry.digest == MODELS[0])
    assert first.rank_low == 1
    assert first.worst is not None
    assert first.worst.estimate.value == max(site.estimate.value or 0 for site in first.sites)
    assert first.worst.under_floor
    assert "at most 1.500" in " ".join(note for answer in verdict(board) for note in answer.notes)
    read_out(board)


def test_a_board_of_several_classes_shows_each_class() -> None:
    """The ranked number is the mean over the classes."""
    benchmark = definition(labels=["normal", "opacity", "effusion"]).model_dump(mode="json")
    labels = np.arange(150) % 3
    board = board_of(benchmark, [scored(benchmark, site, labels) for site in range(3)])
    assert list(board.entries[0].labels) == ["normal", "opacity", "effusion"]
    read_out(board)


def test_a_hospital_with_one_class_only_is_left_out_and_said_to_be() -> None:
    """Its estimates are undefined; the others are compared without it."""
    benchmark = definition().model_dump(mode="json")
    both, one = np.arange(100) % 2, np.zeros(100, dtype=int)
    board = board_of(benchmark, [scored(benchmark, site, both if site else one) for site in range(4)])
    assert board.site_count == 3
    assert all(entry.site_count == 3 for entry in board.entries)
    read_out(board)


def test_hospitals_that_can_all_tell_nothing_make_a_board_that_waits() -> None:
    """No number, no error."""
    benchmark = definition().model_dump(mode="json")
    board = board_of(benchmark, [scored(benchmark, site, np.zeros(100, dtype=int)) for site in range(3)])
    assert not board.ranked
    assert len(board.waiting) == 3
    assert verdict(board) == ()
