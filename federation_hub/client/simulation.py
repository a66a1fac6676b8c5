"""A study in one process, without a hub: the same rules, optimisers, checks and local training, for tuning a plan.

Sites, seeds and weights being the same, and the silos' ids sorting in the same order, every global model has the same
bytes as the federation's on this machine: both drive the same fold over the same update files.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from federation_hub.aggregation.checks import verify_update
from federation_hub.aggregation.decoding import unpack
from federation_hub.aggregation.fold import FoldedModel, Update, fold, moment_path
from federation_hub.aggregation.group_means import plain_means
from federation_hub.aggregation.layout import read_layout
from pipelines.compression.feedback import compress_round
from pipelines.compression.files import compress
from silo_node.wire.compression import KEEPS_A_RESIDUAL, fraction_of
from silo_node.wire.errors import IntegrityError, MedSiloError
from silo_node.wire.strategies import FLTrust, sites_needed
from silo_node.wire.studies import StudyPlan

Answer = tuple[Path | None, float | None]
"""A site's update file, or None, and its score of the incoming global model."""

Trainer = Callable[[Path, int, bool], Answer]
"""``(weights, round, validate_only)``: do one site's part of a round."""


@dataclass(frozen=True)
class SimulatedSite:
    """A site of a simulation: the weight is its number of training cases."""

    silo_id: str
    weight: int
    train: Trainer


@dataclass(frozen=True)
class SimulatedRound:
    """What a round committed, and the sites' scores of the model it started from, by silo id."""

    model: FoldedModel
    path: Path
    counted: int
    scores: dict[str, float | None]


def simulate(plan: StudyPlan, start: Path, sites: Sequence[SimulatedSite], folder: Path) -> list[SimulatedRound]:
    """Run a plan's rounds over these sites and return what each committed; files lie in ``folder``.

    Raises ``quorum-missed`` where a round has too few sound updates: trying again would change nothing here.
    """
    done: list[SimulatedRound] = []
    base, moments = start, dict[str, Path]()
    for number in range(1, plan.rounds + 1):
        answers = {site.silo_id: site.train(base, number, False) for site in sites}
        received = {
            site.silo_id: _received(path, site.silo_id, number, base, plan, folder)
            for site in sites
            if (path := answers[site.silo_id][0]) is not None
        }
        updates = [
            Update(site.silo_id, received[site.silo_id], site.weight)
            for site in sites
            if site.silo_id in received and _sound(received[site.silo_id], base, plan.norm_bound)
        ]
        _require_quorum(plan, updates)
        out = folder / f"round{number}.safetensors"
        counted = len(updates)
        if plan.secure_aggregation is not None:
            updates = plain_means(updates, plan, base, out)
            if len(updates) < sites_needed(plan.robust):
                raise MedSiloError("quorum-missed")
        folded = fold(base, updates, out, strategy=plan.strategy, robust=plan.robust, moments=moments)
        scores = {silo_id: score for silo_id, (_, score) in answers.items()}
        done.append(SimulatedRound(folded, out, counted, scores))
        base, moments = out, {name: moment_path(out, name) for name in folded.moments}
    return done


def _received(update: Path, silo_id: str, number: int, base: Path, plan: StudyPlan, folder: Path) -> Path:
    """Return an update as the hub gets it: compressed and unpacked by the plan, with the site's own residual."""
    compression = plan.compression
    if compression.level == "none":
        return update
    sent, out = folder / f"{silo_id}.update", folder / f"{silo_id}.received"
    if compression.level in KEEPS_A_RESIDUAL:
        residuals = folder / f"{silo_id}.residuals"
        compress_round(update, sent, compression.level, fraction_of(compression), residuals, number)
    else:
        compress(update, sent, compression.level)
    unpack(sent, base, out, compression)
    return out


def _sound(update: Path, base: Path, norm_bound: float | None) -> bool:
    try:
        verify_update(update, read_layout(base), norm_bound=norm_bound)
    except IntegrityError:
        return False
    return True


def _require_quorum(plan: StudyPlan, updates: Sequence[Update]) -> None:
    root = plan.robust.root if isinstance(plan.robust, FLTrust) else None
    if len(updates) < plan.quorum or (root is not None and root not in {update.silo_id for update in updates}):
        raise MedSiloError("quorum-missed")
