"""The declared query of a cohort: which cases of the store it is made of, written down so that it can be asked again.

A TOML file, for example::

    collections = ["chest-2025"]
    one_case_a_patient = true

    [include]                       # attribute = the values that are wanted
    view = ["pa", "ap"]

    [exclude]
    maker = ["other"]

    [spacing_mm]                    # every axis
    maximum = 0.3

Attributes and values are those a case may keep; ``silo-node privacy report`` lists them. Anything else is refused
rather than passed over: a misspelt criterion would quietly be none.
"""

from typing import Annotated, Any

from pydantic import Field, field_validator

from silo_node.config import Settings
from silo_node.deidentify.attributes import VOCABULARY

Attributes = dict[str, tuple[str, ...]]


class Range(Settings):
    """A range, both ends included; an end that is not given is open."""

    minimum: float | None = None
    maximum: float | None = None

    def holds(self, values: tuple[float, ...]) -> bool:
        """Tell whether all of some values lie in the range."""
        low, high = self.minimum, self.maximum
        return all((low is None or value >= low) and (high is None or value <= high) for value in values)


class CohortQuery(Settings):
    """Which cases a cohort is made of, besides what the benchmark asks for."""

    collections: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")], ...] = ()
    """Names cases were taken in under; none given is all."""

    include: Attributes = {}
    """Attributes with the values that are wanted; a case without the attribute is left out."""

    exclude: Attributes = {}
    """Attributes with values that are not wanted; a case without the attribute stays."""

    spacing_mm: Range | None = None
    """Distance of voxels along every axis."""

    voxels: Range | None = None
    """Extent along every spatial axis."""

    one_case_a_patient: bool = False
    """Keep the first case of each patient, by its keyed id."""

    @field_validator("include", "exclude")
    @classmethod
    def _known(cls, criteria: Attributes) -> Attributes:
        for name, values in criteria.items():
            if name not in VOCABULARY:
                raise ValueError(f"an attribute is one of {', '.join(sorted(VOCABULARY))}")
            if not set(values) <= VOCABULARY[name]:
                raise ValueError(f"a value of {name} is one of {', '.join(sorted(VOCABULARY[name]))}")
        return criteria

    def document(self) -> dict[str, Any]:
        """Return the query as JSON, for the cohort's report and id."""
        return self.model_dump(mode="json", exclude_defaults=True)
