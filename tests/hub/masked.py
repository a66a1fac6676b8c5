"""Light sites that take part in masked rounds: the node's real desk, store, outbox, gate and transfers.

As a program: ``python -m tests.hub.masked HOME STATE`` takes its turns until a session is in a state,
and is then killed by ``kill -9`` before anything of that state is sent.
"""

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.identity import dial, load_identity
from silo_node.journal import Journal
from silo_node.masking.desk import MaskingDesk
from silo_node.masking.protocol import Session
from silo_node.masking.store import MaskingStore
from silo_node.outbox.box import Outbox
from silo_node.outbox.delivery import deliver
from silo_node.outbox.states import TO_SEND
from silo_node.state import Home
from silo_node.wire.studies import RoundReport, RoundTask, SiteScore
from silo_node.wire.tasks import Task
from tests.sites import Arrays, Site


@dataclass
class MaskedSite:
    """A site's desk; :meth:`restart` forgets everything that is not on disk."""

    home: Home
    weight: int
    hub: Hub = field(init=False)
    store: MaskingStore = field(init=False)
    desk: MaskingDesk = field(init=False)
    outbox: Outbox = field(init=False)

    def __post_init__(self) -> None:
        self.home.outbox.mkdir(exist_ok=True)
        if not self.home.policy_file.exists():
            self.home.policy_file.write_text('[release]\nupdates = "auto"\n')
        self._open(MaskingStore(self.home))

    def _open(self, store: MaskingStore) -> None:
        self.identity = load_identity(self.home)
        self.hub = dial(self.home, NodeConfig(), self.identity)
        self.store = store
        self.journal = Journal(self.home)
        self.outbox = Outbox(self.journal)
        self.desk = MaskingDesk(self.home, self.identity, self.store, self.outbox)

    def restart(self) -> None:
        """Begin again from what is on disk, as after ``kill -9``."""
        self.close()
        self._open(MaskingStore(self.home))

    def close(self) -> None:
        self.hub.close()
        self.store.close()
        self.journal.close()

    def begin(self, task: Task, update: Arrays) -> None:
        """Hand a "trained" update in."""
        path = self.home.outbox / "trained.safetensors"
        save_file(update, path)
        assert isinstance(task.body, RoundTask)
        self.desk.begin(report_of(task), task.body, path, self.weight)

    def turn(self) -> None:
        """Take the steps that are due and send what was released."""
        self.desk.turn(self.hub)
        for item in self.outbox.items(*TO_SEND):
            deliver(item, self.hub, self.outbox)

    def session(self, task: Task) -> Session:
        found = self.store.find(task.task_id)
        assert found is not None
        return found


def report_of(task: Task) -> RoundReport:
    body = task.body
    assert isinstance(body, RoundTask)
    return RoundReport(
        task_id=task.task_id,
        study_id=body.study_id,
        silo_id=task.silo_id,
        round=body.round,
        plan_digest=body.plan_digest,
        base=body.weights.digest,
        cohort=body.cohort,
        update=None,
        score=SiteScore(metric="auroc", value=0.5, cases=20),
        train_seconds=0.0,
    )


def masked_site(site: Site) -> MaskedSite:
    return MaskedSite(site.home, site.training_cases)


def update_for(place: int, number: int, like: Arrays) -> Arrays:
    """What the site at this place "trains" in a round."""
    rng = np.random.default_rng([place, number])
    return {name: np.asarray(rng.normal(size=array.shape), np.float32) for name, array in like.items()}


class _DyingStore(MaskingStore):
    def __init__(self, home: Home, last: str) -> None:
        super().__init__(home)
        self._last = last

    def keep(self, session: Session) -> Session:
        kept = super().keep(session)
        if session.state == self._last:
            os.kill(os.getpid(), signal.SIGKILL)
        return kept


def main() -> None:
    home, last = Home(Path(sys.argv[1])), sys.argv[2]
    site = MaskedSite(home, 0)
    site.store = _DyingStore(home, last)
    site.desk = MaskingDesk(home, site.identity, site.store, site.outbox)
    print("ready", flush=True)
    while True:
        site.turn()
        time.sleep(0.05)


if __name__ == "__main__":
    main()
