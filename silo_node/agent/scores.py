"""Per-case scores: read back from the jail with a strict schema, kept at the site, never sent.

One file of JSON lines for each (benchmark version, cohort, model), kept so that a model is scored once per cohort
however many evaluations ask for it.
"""

import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from silo_node.state import Home, write_private
from silo_node.wire.digests import hex_part
from silo_node.wire.errors import WorkFailed

LINE_BYTES = 65_536
LOG_ODDS_STEPS, LARGEST_LOG_ODDS = 64, 24.0
"""The same steps the worker keeps scores in; here they are held, whatever wrote them."""

_CONFIG = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)

Probability = Annotated[float, Field(ge=0, le=1)]
Millilitres = Annotated[float, Field(ge=0, le=10**9)]
CaseId = Annotated[str, Field(pattern=r"^[0-9a-f]{16,64}$")]


class StructureScore(BaseModel):
    """One structure of one case: Dice and normalised surface Dice in [0, 1], distances in mm, volumes in ml."""

    model_config = _CONFIG
    dice: Probability | None
    nsd: Probability | None = None
    hd95: Annotated[float, Field(ge=0, le=10**6)] | None = None
    volume_ml: Millilitres
    reference_ml: Millilitres
    empty_reference: bool


class CaseScore(BaseModel):
    """One line of a score file: what one model scored on one case."""

    model_config = _CONFIG
    case: CaseId
    patient: str
    label: int | None
    failed: bool
    scores: Annotated[tuple[Probability, ...], Field(max_length=20)] | None = None
    structures: dict[str, StructureScore] | None = None
    seconds: Annotated[float, Field(ge=0, le=10**8)]
    peak_memory_mb: Annotated[float, Field(ge=0, le=10**7)]
    attributes: dict[str, str | None] = {}


def scores_path(home: Home, benchmark: str, cohort: str, model: str) -> Path:
    """Return where a model's scores on a cohort are kept."""
    return home.scores / hex_part(benchmark)[:32] / hex_part(cohort)[:32] / f"{hex_part(model)}.jsonl"


def read_scores(path: Path, cases: Iterable[str]) -> list[CaseScore]:
    """Read a whole score file: each of these cases once, and no other.

    Raises :class:`WorkFailed` ``output-invalid``; the file was written by a jailed process and is not trusted.
    """
    wanted = set(cases)
    found: list[CaseScore] = []
    for line in _lines(path):
        try:
            score = CaseScore.model_validate_json(line)
        except ValidationError as error:
            fields = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise WorkFailed("output-invalid", f"a line of scores, field {fields}") from None
        if score.case not in wanted:
            raise WorkFailed("output-invalid", "a score for a case that is not the cohort's, or a second one")
        wanted.remove(score.case)
        found.append(score)
    if wanted:
        raise WorkFailed("output-invalid", f"{len(wanted)} cases have no score")
    return found


def keep_scores(scores: Iterable[CaseScore], kept: Path) -> None:
    """Write scores to where they are kept, in steps so coarse that their low digits can carry nothing.

    What the jail wrote is not kept itself: only the declared fields, each quantised, go on.
    """
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = (quantised(score).model_dump_json().encode() + b"\n" for score in scores)
    write_private(kept, b"".join(lines))


def quantised(score: CaseScore) -> CaseScore:
    """Return a score in steps: log-odds in 1/64, overlap and distance to four and two decimals, costs to two digits."""
    found = score.structures or {}
    return score.model_copy(
        update={
            "scores": None if score.failed or score.scores is None else tuple(map(_probability, score.scores)),
            "structures": {name: _structure(one) for name, one in found.items()} if score.structures else None,
            "seconds": _two_digits(score.seconds),
            "peak_memory_mb": _two_digits(score.peak_memory_mb),
            "attributes": {},
        }
    )


def _structure(score: StructureScore) -> StructureScore:
    steps = {"dice": 4, "nsd": 4, "hd95": 2, "volume_ml": 4, "reference_ml": 4}
    values = {name: getattr(score, name) for name in steps}
    return score.model_copy(
        update={name: None if value is None else round(value, steps[name]) for name, value in values.items()}
    )


def _probability(value: float) -> float:
    if not 0 < value < 1:
        return value
    steps = round(math.log(value / (1 - value)) * LOG_ODDS_STEPS)
    kept = max(-LARGEST_LOG_ODDS, min(LARGEST_LOG_ODDS, steps / LOG_ODDS_STEPS))
    return 1 / (1 + math.exp(-kept))


def _two_digits(value: float) -> float:
    return float(f"{value:.2g}")


def adopt_partial(folders: Iterable[Path], out: Path, models: Iterable[str]) -> None:
    """Take over what earlier, interrupted runs scored, so that work goes on at the case where it stopped."""
    for model in models:
        name = f"{hex_part(model)}.jsonl"
        here = out / "scores" / name
        for folder in folders:
            there = folder / "scores" / name
            if there.is_file() and not there.is_symlink() and _size(there) > _size(here):
                os.replace(there, here)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _lines(path: Path) -> Iterator[bytes]:
    if path.is_symlink() or not path.is_file():
        raise WorkFailed("output-invalid", "a score file is missing")
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES + 1):
            if len(line) > LINE_BYTES:
                raise WorkFailed("output-invalid", "a line of scores is too long")
            yield line
