"""Which updates stand out as untrained: nought, an earlier one, or the model's last change; and what is left alone."""

from pathlib import Path

import numpy as np
import pytest

from federation_hub.aggregation.attacks import Knowledge, free_ride
from federation_hub.aggregation.fold import Update
from federation_hub.aggregation.free_riders import IDLE, REPEATED, Trace, marks, measure
from tests.unit.aggregation.files import small_model, write

SHAPES = {"a.weight": (40, 50), "b.bias": (7,), "n.running_var": (30,)}


def traced(*, norms: tuple[float, ...], steps: tuple[int, ...] = (), cosines: tuple[float, ...] = ()) -> list[Trace]:
    return [
        Trace(f"silo-{place}", norm, steps[place] if steps else 10, cosines[place] if cosines else None)
        for place, norm in enumerate(norms)
    ]


@pytest.mark.parametrize(
    ("traces", "marked"),
    [
        (traced(norms=(1.0, 0.9, 1.2)), {}),
        (traced(norms=(1.0, 0.0, 1.2)), {"silo-1": IDLE}),
        (traced(norms=(1.0, 0.05, 1.2)), {"silo-1": IDLE}),
        (traced(norms=(1.0, 0.05, 1.2), steps=(40, 2, 40)), {}),
        (traced(norms=(1.0, 0.15, 1.2), steps=(2, 40, 2)), {}),
        (traced(norms=(0.0,)), {"silo-0": IDLE}),
        (traced(norms=(0.3,), cosines=(0.99,)), {}),
        (traced(norms=(1.0, 1.0, 1.0), cosines=(0.2, 0.99, 0.5)), {"silo-1": REPEATED}),
        (traced(norms=(1.0, 1.0, 1.0), cosines=(0.97, 0.99, 0.96)), {}),
        (traced(norms=(1.0, 1.0, 1.0), cosines=(-0.97, 0.1, 0.9)), {}),
    ],
)
def test_what_stands_out(traces: list[Trace], marked: dict[str, str]) -> None:
    """Lengths count by the steps there were to go; who points where the last change did, only if the others do not."""
    assert marks(traces) == marked


def test_the_same_bytes_for_another_model_stand_out() -> None:
    first, second = traced(norms=(1.0, 1.0))
    assert marks([first, Trace(second.silo_id, 1.0, 10, replayed=True)]) == {second.silo_id: REPEATED}


def test_lengths_and_cosines_are_those_of_the_weights(tmp_path: Path) -> None:
    """By numpy over whole arrays, without running statistics, whose values would drown the rest."""
    rng = np.random.default_rng(1)
    base, before, *rows = (small_model(rng, SHAPES) for _ in range(5))
    for row in rows:
        row["n.running_var"] *= np.float32(1e6)
    paths = [write(tmp_path / str(place), arrays) for place, arrays in enumerate((base, before, *rows))]
    updates = [Update(f"silo-{place}", path, 1, steps=place + 1) for place, path in enumerate(paths[2:])]
    found = measure(paths[0], paths[1], updates, frozenset({"silo-2"}))

    def flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
        return np.concatenate([arrays[name].ravel() for name in ("a.weight", "b.bias")]).astype(np.float64)

    change = flat(base) - flat(before)
    for trace, row in zip(found, rows, strict=True):
        length = np.linalg.norm(flat(row))
        assert trace.norm == pytest.approx(length)
        assert trace.cosine == pytest.approx(flat(row) @ change / length / np.linalg.norm(change))
    assert [(trace.steps, trace.replayed) for trace in found] == [(1, False), (2, False), (3, True)]
    assert [trace.cosine for trace in measure(paths[0], None, updates)] == [None] * 3


def test_the_suites_free_rider_is_found_and_no_honest_site(tmp_path: Path) -> None:
    """Its last change with a tenth of noise, beside honest updates that have a third of their way in common."""
    rng = np.random.default_rng(2)
    base, common = small_model(rng, SHAPES), small_model(rng, SHAPES)
    honest = [
        {name: (common[name] + 1.5 * noise).astype(np.float32) for name, noise in small_model(rng, SHAPES).items()}
        for _ in range(4)
    ]
    last = np.concatenate([common[name].ravel() for name in SHAPES])
    known = Knowledge(np.zeros((4, len(last))), np.zeros((1, len(last))), last)
    ridden, cut = free_ride(known, rng)[0], np.cumsum([np.prod(shape) for shape in SHAPES.values()])[:-1]
    liar = {
        name: part.reshape(SHAPES[name]).astype(np.float32)
        for name, part in zip(SHAPES, np.split(ridden, cut), strict=True)
    }
    before = {name: base[name] - common[name] for name in SHAPES}
    paths = [write(tmp_path / str(place), arrays) for place, arrays in enumerate((base, before, *honest, liar))]
    updates = [Update(f"silo-{place}", path, 1) for place, path in enumerate(paths[2:])]
    assert marks(measure(paths[0], paths[1], updates)) == {"silo-4": REPEATED}
