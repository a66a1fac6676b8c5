"""The graph of a study without an aggregator, as a researcher asks for it, and as the plan fixes it."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from silo_node.wire.errors import BadInput
from silo_node.wire.masking import Member
from silo_node.wire.neighbours import Balance, Decentralised, NeighbourRule


class GraphFile(BaseModel):
    """The table ``[decentralised]`` of a plan file: ``degree`` or ``edges``, and how a silo listens."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    degree: Annotated[int, Field(ge=1, le=999)] | None = None
    """Neighbours of each silo, drawn at random with the plan's seed; without it and ``edges``, everybody is."""

    edges: Annotated[tuple[tuple[str, str], ...], Field(max_length=100_000)] = ()
    """Pairs of names or ids of silos."""

    rule: NeighbourRule = Balance()
    """A name, or a table with the name and its parameters."""


def drawn(asked: GraphFile, silos: Mapping[str, str], members: Sequence[Member], seed: int) -> Decentralised:
    """Return the graph over silos, given their ids by the names of the plan file.

    Raises ``BadInput`` ``plan-invalid`` for both or an impossible degree, and for an edge to a silo that is not asked.
    """
    ids = sorted(silos.values())
    if asked.edges and asked.degree is not None:
        raise BadInput("plan-invalid", "give decentralised.degree or decentralised.edges, not both")
    if asked.edges:
        pairs = [(_known(first, silos), _known(second, silos)) for first, second in asked.edges]
    else:
        pairs = _regular(ids, len(ids) - 1 if asked.degree is None else asked.degree, seed)
    edges = sorted({(min(pair), max(pair)) for pair in pairs})
    return Decentralised(edges=tuple(edges), members=tuple(members), rule=asked.rule)


def _regular(ids: Sequence[str], degree: int, seed: int) -> list[tuple[str, str]]:
    if not degree < len(ids) or degree * len(ids) % 2:
        raise BadInput("plan-invalid", f"there is no graph of {len(ids)} silos with {degree} neighbours each")
    import networkx as nx  # half a second that only such a plan should cost

    graph = nx.random_regular_graph(degree, len(ids), seed=seed)
    return [(ids[first], ids[second]) for first, second in graph.edges]


def _known(name: str, silos: Mapping[str, str]) -> str:
    found = silos.get(name) or (name if name in silos.values() else None)
    if found is None:
        raise BadInput("plan-invalid", f"decentralised.edges names {name!r}, which is not among the silos")
    return found
