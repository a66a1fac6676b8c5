"""Three answers above every board: which model is best, how sure that is, and at which hospital it fails."""

from dataclasses import dataclass

from federation_hub.leaderboards.board import Board, Entry, Estimate
from federation_hub.web.words import joined, plural
from silo_node.web.formats import chance, metric_name, score

NAMED_TOGETHER = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: a question's short form, the answer, and sentences that qualify it."""

    question: str
    answer: str
    notes: tuple[str, ...] = ()
    figure: bool = False
    """The answer is a number and is set large."""


def verdict(board: Board) -> tuple[Answer, ...]:
    """Return the three answers of a board, or none while too few sites have reported."""
    if not board.ranked:
        return ()
    leaders = [entry for entry in board.entries if entry.group == 1]
    sure = _certainty(leaders) if len(board.entries) > 1 else _alone(leaders[0])
    return (_best(board, leaders), sure, _weakness(board, leaders))


def _best(board: Board, leaders: list[Entry]) -> Answer:
    where = f"averaged over {plural(board.site_count, 'hospital')}, each counting the same"
    name = metric_name(board.metric)
    if len(leaders) == 1:
        question = "Best model" if len(board.entries) > 1 else "The only model"
        return Answer(question, leaders[0].name, (f"{name} {span(leaders[0].estimate)}, {where}.",))
    names = [entry.name for entry in leaders]
    tied = joined(names) if len(names) <= NAMED_TOGETHER else f"{len(names)} models"
    values = [entry.estimate.value for entry in leaders if entry.estimate.value is not None]
    scores = f"{name} {score(min(values))} to {score(max(values))}, {where}." if values else ""
    return Answer("Best model", f"{tied} are tied", (scores, f"The data cannot say which is better {_where(leaders)}."))


def _where(entries: list[Entry]) -> str:
    """Return what intervals and ties are about: all hospitals, or with fewer than three of them these alone."""
    return "at hospitals in general" if entries[0].scope == "new_sites" else "at these hospitals"


def _certainty(leaders: list[Entry]) -> Answer:
    likeliest = max(leaders, key=lambda entry: entry.first or 0.0)
    who = "it" if len(leaders) == 1 else likeliest.name
    notes = [f"is the chance that {who} ranks first at these very hospitals.", _rank_sentence(leaders, likeliest)]
    return Answer("How sure", chance(likeliest.first), (*notes, *_expected(likeliest)), figure=True)


def _alone(entry: Entry) -> Answer:
    """Claim no rank where there is nothing to be better than."""
    return Answer("How sure", "Nothing to compare", ("No other model has a number here yet.", *_expected(entry)))


def _expected(entry: Entry) -> tuple[str, ...]:
    if entry.prediction is None:
        return ()
    low, high = entry.prediction
    return (f"At a hospital not seen yet, expect {score(low)} to {score(high)}.",)


def _rank_sentence(leaders: list[Entry], entry: Entry) -> str:
    where = _where(leaders)[0].upper() + _where(leaders)[1:]
    if entry.rank_low == entry.rank_high:
        return f"{where} its rank is {entry.rank_low}, with 95% certainty."
    return f"{where} its rank lies from {entry.rank_low} to {entry.rank_high}, with 95% certainty."


def _weakness(board: Board, leaders: list[Entry]) -> Answer:
    question = "Where it fails" if len(leaders) == 1 else "Where they fail"
    worst = [(entry, entry.worst) for entry in leaders if entry.worst is not None]
    if not worst:
        return Answer(question, "Not shown", ("Results of single hospitals are not public on this board.",))
    floor = f"The benchmark asks for at least {score(board.floor)} everywhere." if board.floor is not None else ""
    if board.direction == "lower" and floor:
        floor = floor.replace("at least", "at most")
    if len(worst) == 1:
        entry, site = worst[0]
        gap = f", {score(entry.best_worst_gap)} from its best hospital" if entry.best_worst_gap is not None else ""
        under = f" That misses the floor. {floor}" if site.under_floor else ""
        return Answer(
            question,
            f"{site.site}: {score(site.estimate.value)}",
            (f"is its weakest hospital ({span(site.estimate, value=False)}){gap}.{under}",),
        )
    places = sorted({site.site for _, site in worst})
    every = "both" if len(worst) == 2 else "all"
    answer = f"{places[0]}, for {every}" if len(places) == 1 else joined(places)
    lines = [f"{entry.name}: {score(site.estimate.value)} at {site.site}." for entry, site in worst[:NAMED_TOGETHER]]
    return Answer(question, answer, (*lines, *([floor] if any(site.under_floor for _, site in worst) else [])))


def span(estimate: Estimate, *, value: bool = True) -> str:
    """Return ``0.953 (95% interval 0.921 to 0.973)`` or, without the value, ``0.921 to 0.973``."""
    interval = estimate.interval
    text = f"{score(interval[0])} to {score(interval[1])}" if interval else "no interval"
    return f"{score(estimate.value)} (95% interval {text})" if value else text
