"""The states of a cohort. This is the only place where one may change.

::

    draft -> frozen -> registered -> retired
               └───────────────────────┘
"""

from typing import Literal, get_args

from silo_node.wire.errors import MedSiloError

CohortState = Literal["draft", "frozen", "registered", "retired"]
CohortEvent = Literal["freeze", "register", "retire"]

_TRANSITIONS: dict[tuple[CohortState, CohortEvent], CohortState] = {
    ("draft", "freeze"): "frozen",
    ("frozen", "register"): "registered",
    # Asking again after a lost answer is no second registration.
    ("registered", "register"): "registered",
    ("registered", "retire"): "retired",
    # A cohort nobody was told of can go as well: its images should not lie about.
    ("frozen", "retire"): "retired",
}


def next_state(state: CohortState, event: CohortEvent) -> CohortState:
    """Return the state after an event; raises ``cohort-not-frozen`` or ``state-conflict`` where there is none."""
    after = _TRANSITIONS.get((state, event))
    if after is None:
        code = "cohort-not-frozen" if state == "draft" else "state-conflict"
        raise MedSiloError(code, f"a {state} cohort cannot {event}")
    return after


def cohort_state(text: str) -> CohortState:
    """Return a state as read from the catalogue; raises ``ValueError`` for an unknown one."""
    for state in get_args(CohortState):
        if state == text:
            found: CohortState = state
            return found
    raise ValueError(f"unknown cohort state: {text}")
