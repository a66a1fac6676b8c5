"""Who answers when, in the simulation of a buffered study."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Next = Callable[[int, Mapping[str, int]], Mapping[str, int]]


@dataclass(frozen=True)
class Arrivals:
    """Decides which silos fill round ``number``, of those at work: from, and to, the round each of them started in."""

    next: Next

    @classmethod
    def given(cls, rounds: Sequence[Mapping[str, int]]) -> "Arrivals":
        """Take the silos whose updates a real study counted, round by round, with where each started."""
        return cls(lambda number, begun: rounds[number - 1])

    @classmethod
    def together(cls, silo_ids: Sequence[str], quorum: int) -> "Arrivals":
        """Let every silo take equally long: the first of those that began first, by id."""
        return cls.paced(dict.fromkeys(silo_ids, 1.0), quorum)

    @classmethod
    def paced(cls, seconds: Mapping[str, float], quorum: int) -> "Arrivals":
        """Let each silo take so many seconds for its part of a round; a full buffer takes none."""
        clock, ends = [0.0], dict[str, tuple[int, float]]()

        def following(number: int, begun: Mapping[str, int]) -> Mapping[str, int]:
            for silo_id, started in begun.items():
                if ends.get(silo_id, (0, 0.0))[0] != started:
                    ends[silo_id] = (started, clock[0] + seconds[silo_id])
            first = heapq.nsmallest(quorum, ((ends[silo_id][1], silo_id) for silo_id in begun))
            clock[0] = first[-1][0]
            return {silo_id: begun[silo_id] for _, silo_id in first}

        return cls(following)
