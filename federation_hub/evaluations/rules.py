"""The rules of tasks and evaluations, as pure functions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from federation_hub.states import Machine

TASK = Machine(
    "task",
    {
        "claim": {"offered": "claimed"},
        "start": {"claimed": "running", "running": "running"},
        "release": {"claimed": "offered", "running": "offered"},
        "expire": {"claimed": "offered", "running": "offered"},
        "decline": {"offered": "declined", "claimed": "declined", "running": "declined"},
        # A silo that was cut off may answer a task whose lease ran out meanwhile: its signature still counts.
        "report": {"offered": "reported", "claimed": "reported", "running": "reported"},
        "accept": {"reported": "accepted"},
        "refuse": {"reported": "refused"},
        "cancel": {"offered": "cancelled", "claimed": "cancelled", "running": "cancelled", "reported": "cancelled"},
    },
)
EVALUATION = Machine(
    "evaluation",
    {
        "answer": {"open": "answered"},
        "decline": {"open": "declined"},
        "refuse": {"open": "refused"},
        "cancel": {"open": "cancelled"},
    },
)
BLOCK = Machine(
    "estimate block",
    {
        "supersede": {"accepted": "superseded", "disputed": "superseded"},
        "dispute": {"accepted": "disputed"},
        "uphold": {"disputed": "accepted"},
        "withdraw": {"accepted": "withdrawn", "disputed": "withdrawn"},
    },
)
LEASED = ("claimed", "running")
"""The states of a task that a silo holds under a lease."""

_LATELY = timedelta(seconds=30)
_POLLS_A_SECOND = 40
_LONGEST = 60.0


@dataclass(frozen=True, slots=True)
class Activity:
    """What decides how soon a silo should ask again."""

    in_study: bool
    last_change: datetime | None
    silos: int


def wait_seconds(activity: Activity, at: datetime, idle: float) -> float:
    """Return how long a silo should wait before it asks again.

    A tenth of a second in a running study, more where its rounds are long (a twentieth of the time since anything
    happened to the silo, so that waiting adds at most that to a round); half a second when something changed lately,
    else ``idle``. Stretched where so many silos ask that their questions alone would keep the hub busy; the idle time
    too, up to a minute.
    """
    crowded = activity.silos / _POLLS_A_SECOND
    quiet = at - activity.last_change if activity.last_change is not None else timedelta()
    if activity.in_study:
        return min(max(0.1, crowded, quiet.total_seconds() / 20), idle)
    recent = activity.last_change is not None and quiet < _LATELY
    return min(max(0.5, crowded), idle) if recent else max(idle, min(crowded, _LONGEST))
