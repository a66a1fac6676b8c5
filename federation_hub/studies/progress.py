"""A study as readers follow it: what each round counted, what it refused, and how the model became better.

A silo scores the model a round *starts* from, so the score after round r is reported in round r + 1; the last one
comes from a closing round that only validates.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from federation_hub.studies.rules import model_of
from federation_hub.studies.tables import StudyRound, StudyUpdate
from federation_hub.web.charts import CurveLine
from federation_hub.web.words import joined, reason, state
from silo_node.wire.compression import LEVELS

NOT_COUNTED = ("rejected", "late")
_ENDED = ("model-vetoed", "stop-rule-met")
"""Why a round may end without a new model besides a missed quorum."""


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
class SiteBeside:
    """What one site gets on the same cases: the global model, its personal one, the one alone, and the baseline's."""

    site: str
    shared: float | None
    personal: float | None
    alone: float | None
    fedavg: float | None


@dataclass(frozen=True, slots=True)
class RefusedUpdate:
    """An update that was not counted, or that stands out, and why."""

    round: int
    site: str
    code: str
    reason: str


Scores = Mapping[int, Mapping[str, float]]
"""Scores by how many rounds of training the model had, then by silo."""


def public_scores(
    updates: Iterable[StudyUpdate], rounds: Sequence[StudyRound], *, minimum_sites: int, of: str = "score"
) -> dict[int, dict[str, float]]:
    """Return each site's score of the model after 0, 1, ... rounds, where enough sites told one.

    What a refused report says is not believed. With fewer sites even their mean would tell of single ones. ``of`` names
    the score: of the global model, or ``personal`` or ``alone`` of what the site keeps beside it.
    """
    found: dict[int, dict[str, float]] = {}
    begun: dict[int, list[StudyRound]] = defaultdict(list)
    for entry in rounds:
        begun[entry.number].append(entry)
    for update in updates:
        value = ((update.report or {}).get(of) or {}).get("value")
        place = model_of(update, begun[update.number if update.started is None else update.started])
        if value is not None and place is not None and update.state != "rejected":
            found.setdefault(place, {})[update.silo_id] = float(value)
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

    def row(number: int, label: str, words: str, after: Mapping[str, float], told: Sequence[StudyUpdate]) -> RoundRow:
        counted, others = (_names(told, states, labels) for states in (("folded",), NOT_COUNTED))
        values = tuple(after.get(silo) for silo in shown)
        return RoundRow(number, label, words, counted, others, values, mean(after.values()))

    own: dict[tuple[int, int], list[StudyUpdate]] = defaultdict(list)
    for update in updates:
        own[update.number, update.attempt].append(update)
    rows = [row(0, "start", "before training", scores[0], ())] if 0 in scores else []
    for entry in sorted(rounds, key=lambda found: (found.number, found.attempt)):
        if entry.validate_only:
            continue
        label = str(entry.number) if entry.attempt == 1 else f"{entry.number}, attempt {entry.attempt}"
        after = scores.get(entry.number, {}) if entry.state == "committed" else {}
        ended = entry.state == "abandoned" and entry.code in _ENDED
        words = f"abandoned: {reason(entry.code)}" if ended else state(entry.state)
        rows.append(row(entry.number, label, words, after, own[entry.number, entry.attempt]))
    return rows


def sites_beside(
    updates: Sequence[StudyUpdate],
    rounds: Sequence[StudyRound],
    made: int | None,
    labels: Mapping[str, str],
    shown: Sequence[str],
    *,
    minimum_sites: int,
    fedavg: Mapping[str, float] | None = None,
) -> list[SiteBeside]:
    """Return each site's scores after round ``made``; empty where there is nothing beside the global model.

    ``fedavg`` are the scores of the baseline's model, by silo.
    """
    found = [
        public_scores(updates, rounds, minimum_sites=minimum_sites, of=of).get(-1 if made is None else made, {})
        for of in ("score", "personal", "alone")
    ]
    found.append(dict(fedavg or {}))
    if not any(found[1:]):
        return []
    sites = [SiteBeside(labels[silo], *(values.get(silo) for values in found)) for silo in shown]
    return [*sites, SiteBeside("Mean of all sites", *(mean(values.values()) for values in found))]


def levels_sent(updates: Iterable[StudyUpdate], asked: str) -> list[str]:
    """Return the compression levels that updates were in fact sent at, the most exact first.

    A silo that does not negotiate states none and sends as the plan asks.
    """
    found = {str((update.report or {}).get("sent_as") or asked) for update in updates if update.report}
    return [level for level in LEVELS if level in found]


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


def marked_updates(updates: Iterable[StudyUpdate], labels: Mapping[str, str]) -> list[RefusedUpdate]:
    """Return every update that counted and stands out, with its mark in words."""
    found = sorted((update for update in updates if update.mark and update.state == "folded"), key=_order)
    return [
        RefusedUpdate(update.number, labels.get(update.silo_id, "a site"), str(update.mark), reason(update.mark))
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
