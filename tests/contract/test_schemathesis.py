"""The OpenAPI document, put to the test by generated requests: no 5xx and no answer that is not declared.

A few examples for each operation here; ``make fuzz`` does many. Nothing is mocked: a filled hub answers.
"""

import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from federation_hub.cli.reference import whole_document
from silo_node.wire.versions import CURRENT, HEADER
from tests.contract.walking import Walk, walk

with warnings.catch_warnings():
    # Its imports use deprecated parts of other packages.
    warnings.simplefilter("ignore")
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
EXAMPLES = int(os.environ.get("MEDSILO_FUZZ_EXAMPLES", "3"))
CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
SCHEMA = schemathesis.openapi.from_dict(whole_document())
SCHEMA.config.phases.coverage.enabled = EXAMPLES > 10
SCHEMA.config.phases.examples.enabled = False


@dataclass(frozen=True)
class Target:
    """A filled hub of this module's own, its admin's headers, and the addresses of things that are there."""

    walk: Walk
    headers: dict[str, str]

    def real(self, path: str) -> dict[str, str]:
        """Return the parameters of a path that lead somewhere."""
        rule = path.replace("{", "<").replace("}", ">")
        parts = zip(rule.split("/"), self.walk.path(rule).split("/"), strict=True)
        return {part.strip("<>").split(">")[0]: found for part, found in parts if part.startswith("<")}


@pytest.fixture(scope="module")
def target(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The hub that is asked."""
    home = tmp_path_factory.mktemp("fuzz") / "hub"
    shutil.copytree(showcase_home, home)
    for found in walk(home, requests_per_minute=10**6, anonymous_requests_per_minute=10**6):
        token = (home / "admin-token").read_text().strip()
        yield Target(found, {"Authorization": f"Bearer {token}", HEADER: str(CURRENT)})


def _asking(label: str) -> Callable[..., None]:
    """Return the test of one operation."""

    @SCHEMA.include(name=label).parametrize()
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
    )
    def every_answer_is_a_declared_one(case: Any, target: Target) -> None:
        """Status, media type and schema, whatever is sent: to made-up addresses, and to those there are."""
        app = target.walk.app
        case.headers = {**(case.headers or {}), **target.headers}
        case.validate_response(case.call(app=app), checks=list(CHECKS))
        if case.path_parameters:
            case.path_parameters = {**case.path_parameters, **target.real(case.path)}
            case.validate_response(case.call(app=app), checks=list(CHECKS))

    return every_answer_is_a_declared_one


def _name(label: str) -> str:
    return "test_" + re.sub(r"\W+", "_", label.removesuffix("}")).lower()


# A function for each: of several tests with one name a scheduler of several processes runs only one.
OPERATIONS = {_name(operation.ok().label): operation.ok().label for operation in SCHEMA.get_all_operations()}
globals().update({name: _asking(label) for name, label in OPERATIONS.items()})


def test_every_operation_is_asked() -> None:
    assert len(OPERATIONS) == len(list(SCHEMA.get_all_operations())) > 70
