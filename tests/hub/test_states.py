"""The state machines are exactly the ones the architecture draws; the code holds no other way from state to state."""

import pytest

from federation_hub.associations.service import ASSOCIATION
from federation_hub.benchmarks.service import BENCHMARK
from federation_hub.evaluations.rules import BLOCK, EVALUATION, TASK
from federation_hub.models.service import MODEL
from federation_hub.silos.cohorts import COHORT
from federation_hub.silos.service import SILO
from federation_hub.states import Machine, StateConflict
from federation_hub.studies.rules import ROUND, STUDY, UPDATE

MACHINES = (ASSOCIATION, BENCHMARK, BLOCK, COHORT, EVALUATION, MODEL, ROUND, SILO, STUDY, TASK, UPDATE)
DRAWN = {
    "silo": """invited pending | pending active | active suspended | suspended active | pending invited
               invited revoked | pending revoked | active revoked | suspended revoked""",
    "cohort": "registered retired",
    "model": """received checking | checking accepted | checking rejected | accepted withdrawn | rejected checking""",
    "benchmark": "published superseded | published retired | superseded retired",
    "association": """requested approved | requested declined | approved ended | declined requested
               ended requested""",
    "task": """offered claimed | claimed running | claimed offered | running offered | offered declined
               claimed declined | running declined | offered reported | claimed reported | running reported
               reported accepted | reported refused | offered cancelled | claimed cancelled | running cancelled
               reported cancelled""",
    "evaluation": "open answered | open declined | open refused | open cancelled",
    "estimate block": """accepted superseded | accepted disputed | accepted withdrawn | disputed accepted
               disputed superseded | disputed withdrawn""",
    "study": """draft recruiting | recruiting running | running paused | paused running | running completed
               paused completed | running failed | paused failed | draft stopped | recruiting stopped
               running stopped | paused stopped""",
    "round": """open collecting | open aggregating | collecting aggregating | aggregating committed
               open abandoned | collecting abandoned | aggregating abandoned | committed revoked""",
    "update": """expected receiving | receiving verified | expected rejected | receiving rejected | verified folded
               expected late | receiving late | verified late""",
}


def drawn(text: str) -> set[tuple[str, str]]:
    """Read pairs of states, one after the other."""
    words = text.replace("|", " ").split()
    return set(zip(words[::2], words[1::2], strict=True))


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_a_machine_has_exactly_the_drawn_ways(machine: Machine) -> None:
    """A loop on one state (a second heartbeat) is no way."""
    edges = {(before, after) for step in machine.events.values() for before, after in step.items() if before != after}
    assert edges == drawn(DRAWN[machine.name])


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_what_a_machine_does_not_allow_is_a_conflict(machine: Machine) -> None:
    """Every event in every state either leads to a known state or is refused by name."""
    for event, step in machine.events.items():
        for state in machine.states:
            if machine.allows(state, event):
                assert machine.after(state, event) == step[state]
            else:
                with pytest.raises(StateConflict, match=f"{machine.name} that is {state} cannot {event}"):
                    machine.after(state, event)
