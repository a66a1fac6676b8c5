"""Drives this silo's masked rounds: at each turn it looks what the hub shows and takes the next step, if one is due.

Waiting for other silos takes no thread and no lane, so two studies can never wait for each other.
"""

import logging
from pathlib import Path

from pipelines.errors import PipelineError
from pipelines.masking.sums import encoded, write_masked
from silo_node.hub import Hub
from silo_node.identity import Identity
from silo_node.masking import protocol
from silo_node.masking.protocol import Session
from silo_node.masking.store import MaskingStore
from silo_node.outbox.box import Outbox
from silo_node.outbox.delivery import MASKED
from silo_node.policy import decide_release, load_policy
from silo_node.state import Home
from silo_node.wire.digests import digest_file
from silo_node.wire.envelope import seal
from silo_node.wire.errors import HubUnavailable, MedSiloError, PolicyRefusal, WireError, WorkFailed
from silo_node.wire.masking import MaskingView
from silo_node.wire.studies import RoundReport, RoundTask
from silo_node.wire.tasks import Decline
from silo_node.wire.transfers import BlobReference

_LOG = logging.getLogger("silo_node.masking")
_OVER = frozenset({"opened", "void"})
_GONE = frozenset({"not-found"})
_LATER = frozenset({"silo-not-active", "not-authenticated", "masking-closed"})


class MaskingDesk:
    """The masked rounds of one node; used by the thread that asks for work."""

    def __init__(self, home: Home, identity: Identity, store: MaskingStore, outbox: Outbox) -> None:
        self._home = home
        self._identity = identity
        self._store = store
        self._outbox = outbox

    def begin(self, report: RoundReport, task: RoundTask, update: Path, weight: int) -> Session:
        """Take a trained update in; a task that is here already goes on as it is.

        Raises ``masking-closed`` for one that has ended here: new keys for the same task could open its update.
        """
        found = self._store.find(report.task_id)
        if found is not None:
            update.unlink(missing_ok=True)
            if found.state == "closed":
                raise PolicyRefusal("masking-closed")
            return found
        update.rename(self._store.update_path(report.task_id))
        session = protocol.begin(report.task_id, self._identity.silo_id, task, weight, self._identity.key)
        return self._store.keep(session.model_copy(update={"report": report.model_dump_json()}))

    def tasks(self) -> list[str]:
        """Return the tasks whose rounds go on."""
        return [session.task_id for session in self._store.unfinished()]

    def turn(self, hub: Hub) -> bool:
        """Take every step that is due; return whether any round goes on. Raises :class:`HubUnavailable`."""
        for session in self._store.unfinished():
            try:
                self._step(session, hub)
            except HubUnavailable:
                raise
            except WireError as error:
                self._after_refusal(session, error)
            except (MedSiloError, PipelineError) as error:
                self._give_up(session, error.code, hub)
        return bool(self._store.unfinished())

    def _step(self, session: Session, hub: Hub) -> None:
        view = hub.masking(session.task_id)
        if view.stage in _OVER:
            self._end(session, None if view.stage == "opened" else "masking-void")
        elif view.stage == "advertising" and not view.received:
            hub.state_masking(session.task_id, session.keys)
        elif view.stage == "sharing":
            self._share(session, view, hub)
        elif view.stage == "masking":
            self._mask(session, view)
        elif view.stage == "confirming":
            self._confirm(session, view, hub)
        elif view.stage == "opening":
            self._open(session, view, hub)

    def _share(self, session: Session, view: MaskingView, hub: Hub) -> None:
        if session.state == "advertised" and session.keys not in view.roster:
            self._end(session, "masking-closed")
            return
        if session.state == "advertised":
            session = self._store.keep(protocol.share(session, view.roster, self._identity.key))
        if session.shares is not None and not view.received:
            hub.state_masking(session.task_id, session.shares)

    def _mask(self, session: Session, view: MaskingView) -> None:
        if session.state == "shared" and view.parcels:
            session = self._store.keep(protocol.receive(session, view.parcels))
        if session.state == "seeded":
            self._release(session)

    def _release(self, session: Session) -> None:
        """Mask the update, put it with its report into the outbox and forget the plain one."""
        masking, plain = protocol.masking_of(session), self._store.update_path(session.task_id)
        masked = self._home.outbox / f"{session.task_id}{MASKED}"
        if not plain.is_file():
            raise WorkFailed("work-failed", "the update is not there any more")
        write_masked(encoded(plain, masking.encoding, masking.weight), masking.masks, masked)
        blob = BlobReference(digest=digest_file(masked), size=masked.stat().st_size)
        report = RoundReport.model_validate_json(session.report).model_copy(update={"update": blob})
        release = decide_release(load_policy(self._home), "updates")
        envelope = seal(report, self._identity.key)
        self._outbox.add("round-report", session.task_id, envelope, release, masked)
        self._store.keep(session.model_copy(update={"state": "masked", "report": report.model_dump_json()}))
        plain.unlink()

    def _confirm(self, session: Session, view: MaskingView, hub: Hub) -> None:
        if session.state == "masked" and session.confirmation is None and session.silo_id in view.survivors:
            session = self._settled(session, view)
        if session.confirmation is not None and not view.received:
            hub.state_masking(session.task_id, session.confirmation)

    def _open(self, session: Session, view: MaskingView, hub: Hub) -> None:
        if session.state == "masked" and session.silo_id in view.survivors:
            session = self._settled(session, view)
            session = self._store.keep(protocol.open_shares(session, view.confirmations, self._identity.key))
        if session.opening is not None and not view.received:
            hub.state_masking(session.task_id, session.opening)

    def _settled(self, session: Session, view: MaskingView) -> Session:
        session = protocol.confirm(session, view.survivors, self._identity.key)
        protocol.refuse_second_sum(session, self._store.of_study(session.task.study_id))
        return self._store.keep(session)

    def _after_refusal(self, session: Session, error: WireError) -> None:
        if error.code in _GONE:
            self._end(session, error.code)
        elif error.code not in _LATER:
            _LOG.warning("the hub refuses", extra={"task": session.task_id, "code": error.code})
            self._end(session, error.code)

    def _give_up(self, session: Session, code: str, hub: Hub) -> None:
        """Take no further part in a round: nothing more is said, and the secrets are forgotten."""
        _LOG.error("a masked round goes on without this site", extra={"task": session.task_id, "code": code})
        self._end(session, code)
        if session.state in ("advertised", "shared", "seeded"):
            try:
                hub.decline(session.task_id, Decline(code=code))
            except HubUnavailable:
                raise
            except MedSiloError as error:
                _LOG.warning("the hub refuses", extra={"task": session.task_id, "code": error.code})

    def _end(self, session: Session, code: str | None) -> None:
        self._store.update_path(session.task_id).unlink(missing_ok=True)
        self._store.keep(protocol.close(session, code))
