"""Start a process that has no network, sees only what its task needs, and has limits.

A submitted model is data, yet it is read by large libraries, and a site's words to its data protection officer must
hold even where such a library has a hole. So whatever touches a model or a patient's image runs in a jail made by
bubblewrap: no network, a fresh process table, a cleared environment, read-only code and inputs, one writable folder,
and limits of memory, processes, file size and wall clock.

``start(argv, binds, limits)`` is all of it; ``silo_node.sandbox.work`` runs the pipelines' jobs on top.
"""

from silo_node.sandbox.bubblewrap import Bubblewrap
from silo_node.sandbox.driver import Sandbox
from silo_node.sandbox.jail import Ending, Jail
from silo_node.sandbox.limits import Bind, Limits
from silo_node.sandbox.unjailed import Unjailed

__all__ = ["Bind", "Bubblewrap", "Ending", "Jail", "Limits", "Sandbox", "Unjailed", "choose", "start"]


def choose(*, development_no_sandbox: bool = False) -> Sandbox:
    """Return this machine's sandbox, tried once with a real process.

    Raises :class:`SandboxUnavailable` where bubblewrap is missing or cannot make its namespaces, unless the site's
    configuration says, in so many words, to run without.
    """
    return Unjailed() if development_no_sandbox else Bubblewrap.find()


def start(argv: list[str], binds: list[Bind], limits: Limits) -> Jail:
    """Start a program in a jail; see :class:`Bind` and :class:`Limits`. Raises :class:`SandboxUnavailable`."""
    return choose().start(argv, binds, limits)
