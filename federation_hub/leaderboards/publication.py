"""How hospitals are named in public: by name where they wish so, by a stable pseudonym otherwise, or not at all."""

from collections.abc import Iterable
from dataclasses import dataclass
from string import ascii_uppercase

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.silos.tables import Cohort, Silo


@dataclass(frozen=True, slots=True)
class PublicSite:
    """A hospital as readers of one benchmark know it."""

    silo_id: str
    label: str
    named: bool
    """The label is its own name."""

    shown: bool
    """Its own values may be shown, once enough sites have reported."""


def pseudonym(place: int) -> str:
    """Return ``Site A`` for the first place, ``Site Z`` for the 26th, ``Site AA`` for the 27th."""
    letters = ""
    while place > 0:
        place, rest = divmod(place - 1, 26)
        letters = ascii_uppercase[rest] + letters
    return f"Site {letters}"


def public_sites(places: Iterable[tuple[str, str, str]]) -> dict[str, PublicSite]:
    """Return how sites are named, from ``(silo id, name, publication)`` in the order in which they joined."""
    return {
        silo_id: PublicSite(silo_id, name if wish == "named" else pseudonym(place), wish == "named", wish != "withheld")
        for place, (silo_id, name, wish) in enumerate(places, start=1)
    }


def sites_of_benchmark(session: Session, name: str) -> dict[str, PublicSite]:
    """Return how the sites of a benchmark are named.

    The order is that of first registration over all versions: cohorts are never deleted, so a site keeps its letter;
    on another benchmark its letter follows the order there.
    """
    joined = func.min(Cohort.created)
    rows = session.execute(
        select(Silo.id, Silo.name, Silo.publication)
        .join(Cohort, Cohort.silo_id == Silo.id)
        .join(Benchmark, Benchmark.id == Cohort.benchmark_id)
        .where(Benchmark.name == name)
        .group_by(Silo.id, Silo.name, Silo.publication)
        .order_by(joined, Silo.id)
    )
    return public_sites((row[0], row[1], row[2]) for row in rows)
