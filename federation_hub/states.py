"""State machines as data: the only way a state changes is ``machine.after(state, event)``, a pure function."""

from collections.abc import Mapping
from dataclasses import dataclass

from silo_node.wire.errors import MedSiloError


class StateConflict(MedSiloError):
    """The present state does not allow what was asked."""

    def __init__(self, detail: str = "") -> None:
        super().__init__("state-conflict", detail)


@dataclass(frozen=True)
class Machine:
    """Named states and the events that lead from one to the next: ``{event: {state: next state}}``."""

    name: str
    events: Mapping[str, Mapping[str, str]]

    @property
    def states(self) -> frozenset[str]:
        edges = [edge for step in self.events.values() for edge in step.items()]
        return frozenset(state for edge in edges for state in edge)

    @property
    def final(self) -> frozenset[str]:
        """The states no event leads out of."""
        return self.states - {state for step in self.events.values() for state in step}

    def allows(self, state: str, event: str) -> bool:
        """Tell whether ``event`` may happen in ``state``."""
        return state in self.events[event]

    def after(self, state: str, event: str) -> str:
        """Return the state after ``event``; raises :class:`StateConflict` where it may not happen in ``state``."""
        if not self.allows(state, event):
            raise StateConflict(f"a {self.name} that is {state} cannot {event}")
        return self.events[event][state]
