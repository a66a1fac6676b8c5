"""A study as readers follow it: what each round counted, what it refused, and how the model became better.

A silo scores the model a round *starts* from, so the score after round r is reported in round r + 1; the last one
comes from a closing round that only validates.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from federation_hub.studies.tables import StudyRound, StudyUpdate
from federation_hub.web.charts import CurveLine
from federation_hub.web.words import joined, reason, state

NOT_COUNTED = ("rejected", "late")


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round: the sites whose updates were counted or not, and every site's score after it."""

    number: int
    label: str
    state: str
    counted: str
    not_counted: str
    values: tuple[float | None, ...]
    mean: float | None


@dataclass(frozen=True, slots=True)
class RefusedUpdate:
    """An update that was not counted, and why."""

    round: int
    site: str
    code: str
    reason: str


Scores = Mapping[int, Mapping[str, float]]
"""Scores by how many rounds of training the model had, then by silo."""


def public_scores(updates: Iterable[StudyUpdate], *, minimum_sites: int) -> dict[int, dict[str, float]]:
    """Return each site's score of the model after 0, 1, ... rounds, where enough sites told one.

    What a refused report says is not believed. With fewer sites even their mean would tell of single ones.
    """
    found: dict[int, dict[str, float]] = {}
    for update in updates:
        value = ((update.report or {}).get("score") or {}).get("value")
        if value is not None and update.state != "rejected":
            found.setdefault(update.number - 1, {})[update.silo_id] = float(value)
    return {place: values for place, values in found.items() if len(values) >= minimum_sites}


def mean(values: Iterable[float]) -> float | None:
    """Return the plain mean over sites, or None without any."""
    found = list(values)
    return sum(found) / len(found) if found else None


def round_rows(
    rounds: Sequence[StudyRound],
    updates: Sequence[StudyUpdate],
    scores: Scores,
    labels: Mapping[str, str],
    shown: Sequence[str],
) -> list[RoundRow]:
    """Return a row for the untrained model and one for each attempt at a round, oldest first.

    ``labels`` names every site; ``shown`` are the silos whose own scores may be seen, in the order of columns.
    """

    def row(number: int, label: str, words: str, after: Mapping[str, float], own: Sequence[StudyUpdate]) -> RoundRow:
        counted, others = (_names(own, states, labels) for states in (("folded",), NOT_COUNTED))
        values = tuple(after.get(silo) for silo in shown)
        return RoundRow(number, label, words, counted, others, values, mean(after.values()))

    rows = [row(0, "start", "before training", scores[0], ())] if 0 in scores else []
    for entry in sorted(rounds, key=lambda found: (found.number, found.attempt)):
        if entry.validate_only:
            continue
        own = [update for update in updates if (update.number, update.attempt) == (entry.number, entry.attempt)]
        label = str(entry.number) if entry.attempt == 1 else f"{entry.number}, attempt {entry.attempt}"
        after = scores.get(entry.number, {}) if entry.state == "committed" else {}
        rows.append(row(entry.number, label, state(entry.state), after, own))
    return rows


def _names(updates: Iterable[StudyUpdate], states: Sequence[str], labels: Mapping[str, str]) -> str:
    return joined(sorted(labels.get(update.silo_id, "a site") for update in updates if update.state in states)) or "–"


def refused_updates(updates: Iterable[StudyUpdate], labels: Mapping[str, str]) -> list[RefusedUpdate]:
    """Return every update that was not counted, with its reason in words."""
    found = sorted((update for update in updates if update.state in NOT_COUNTED), key=_order)
    return [
        RefusedUpdate(
            round=update.number,
            site=labels.get(update.silo_id, "a site"),
            code=update.code or update.state,
            reason=reason(update.code) if update.code else state(update.state),
        )
        for update in found
    ]


def _order(update: StudyUpdate) -> tuple[int, int, str]:
    return update.number, update.attempt, update.silo_id


def curve_lines(scores: Scores, labels: Mapping[str, str], shown: Sequence[str]) -> list[CurveLine]:
    """Return a line for each site that may be shown and one for the mean over all that reported."""
    ordered = sorted(scores.items())
    lines = [
        CurveLine(labels[silo], tuple((place, values[silo]) for place, values in ordered if silo in values))
        for silo in shown
    ]
    means = tuple((place, average) for place, values in ordered if (average := mean(values.values())) is not None)
    return [*lines, CurveLine("Mean", means, mean=True)]
