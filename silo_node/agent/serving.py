"""Which models of an evaluation this site serves. Each is decided about by itself, so that a no leaves the others.

One ONNX model at a site that runs only code-free bundles, or one owner who has used up a budget, must not cost the
others their evaluation: the block says a coded no to those, and tells of the rest.
"""

import logging
from collections.abc import Iterable, Mapping

from silo_node.agent.node import Node
from silo_node.policy import AskedModel, decide_models, load_policy
from silo_node.policy.budget import Spent
from silo_node.wire.errors import MedSiloError, PolicyRefusal
from silo_node.wire.estimates import RefusedModel
from silo_node.wire.models import ModelReference
from silo_node.wire.tasks import EvaluationTask

_LOG = logging.getLogger("silo_node.agent")


class Serving:
    """The models of one task that are still to be served, and the coded no to each of the others."""

    def __init__(self, node: Node, body: EvaluationTask, history: Mapping[str, Spent]) -> None:
        self._node, self._body, self._history = node, body, history
        owners = body.owners or ("",) * len(body.models)
        self._owners = {model.digest: owner for model, owner in zip(body.models, owners, strict=True)}
        self._no: dict[str, MedSiloError] = {}

    @property
    def models(self) -> tuple[ModelReference, ...]:
        """The models that are served, in the task's order."""
        return tuple(model for model in self._body.models if model.digest not in self._no)

    @property
    def refused(self) -> tuple[RefusedModel, ...]:
        """The others, as the block names them."""
        return tuple(
            RefusedModel(model=model.digest, code=self._no[model.digest].code)
            for model in self._body.models
            if model.digest in self._no
        )

    def owner(self, digest: str) -> str:
        """Return the organisation a model belongs to, as the hub says."""
        return self._owners[digest]

    def refuse(self, no: Mapping[str, MedSiloError]) -> None:
        """Leave models out; raises the first no of all once none is left to serve."""
        for digest, error in no.items():
            self._no.setdefault(digest, error)
            _LOG.warning("a model is not served", extra={"model": digest, "code": error.code, "detail": error.detail})
        if not self.models:
            raise next(iter(self._no.values()))

    def ask_policy(self, tiers: Mapping[str, int] | None = None) -> None:
        """Put each model to the policy: its owner and budget, and its tier where this site has judged it."""
        known = tiers or {}
        asked = [AskedModel(model.digest, self.owner(model.digest), known.get(model.digest)) for model in self.models]
        decisions = decide_models(load_policy(self._node.home), self._body.benchmark.name, asked, self._history)
        self.refuse(
            {
                digest: PolicyRefusal(decision.code, f"rule {decision.rule}: {decision.words}")
                for digest, decision in decisions.items()
                if decision.code is not None
            }
        )

    def only(self, digests: Iterable[str]) -> list[ModelReference]:
        """Return those of the served models that are named."""
        wanted = set(digests)
        return [model for model in self.models if model.digest in wanted]
