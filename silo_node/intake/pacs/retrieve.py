"""Studies from a PACS over DICOM itself: found with C-FIND, and sent to the listener here on C-MOVE (PS3.4 annex C)."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pynetdicom.association import Association

from silo_node.config import ListenerSettings, PacsSettings
from silo_node.intake.objects.inbox import Inbox
from silo_node.intake.pacs.association import Pacs
from silo_node.intake.pacs.listener import Listener
from silo_node.intake.pacs.query import FoundStudy, StudyQuery
from silo_node.intake.source import Item
from silo_node.wire.errors import BadInput, MedSiloError

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_PURPOSE = "searching and sending (C-FIND, C-MOVE)"
_PENDING = (0xFF00, 0xFF01)
_UNKNOWN_DESTINATION = 0xA801


class _Line:
    """One association for all retrievals, made anew when the PACS has broken it off."""

    def __init__(self, peer: Pacs) -> None:
        self._peer, self._stack = peer, ExitStack()
        self._association: Association | None = None

    def open(self) -> Association:
        """Return an association that is established; raises ``pacs-unreachable``, ``pacs-refused``."""
        if self._association is None or not self._association.is_established:
            self._stack.close()
            self._association = self._stack.enter_context(self._peer.association([STUDY_ROOT_MOVE], _PURPOSE))
        return self._association

    def close(self) -> None:
        """Release the association."""
        self._stack.close()


@dataclass(frozen=True)
class _Moved:
    status: int | None
    """The last status of a C-MOVE; None when the PACS went silent."""

    failed: int
    """Objects the PACS could not send."""


class PacsSource:
    """The studies of a PACS that match a search. The listener's own settings say where they are sent."""

    kind = "c-move"
    by_quiet = False

    def __init__(self, pacs: PacsSettings, listener: ListenerSettings, query: StudyQuery) -> None:
        """Check the settings; raises :class:`ConfigError`."""
        self._own_title = listener.called_ae_titles[0]
        self._peer = Pacs(pacs, self._own_title)
        self.root = self._peer.root
        self._pacs, self._query, self._listener = pacs, query, Listener(listener)

    def deliver(self, inbox: Inbox) -> None:
        """Have every study sent that is not all here; a study is settled once the PACS says that all of it was sent.

        A study it fails to send is quarantined as ``pacs-failed``, and asked for again in the next run. Raises
        ``pacs-unreachable``, ``pacs-refused``, ``listener-unavailable``.
        """
        studies = self.studies()
        with self._listener.open(inbox), closing(_Line(self._peer)) as line:
            for done, study in enumerate(studies):
                inbox.progress(done, len(studies))
                self._deliver_study(study, inbox, line)
            inbox.progress(len(studies), len(studies))

    def studies(self) -> list[FoundStudy]:
        """Search. Raises ``pacs-unreachable``, ``pacs-refused``, ``pacs-failed``."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        for keyword in ("StudyInstanceUID", "NumberOfStudyRelatedInstances"):
            setattr(identifier, keyword, "")
        for keyword, value in self._query.keys().items():
            setattr(identifier, keyword, value)
        silent_at = time.monotonic() + self._pacs.timeout_seconds
        with self._peer.association([STUDY_ROOT_FIND], _PURPOSE) as association:
            return list(_found(association.send_c_find(identifier, STUDY_ROOT_FIND), silent_at))

    def _deliver_study(self, study: FoundStudy, inbox: Inbox, line: "_Line") -> None:
        place = Item(study.study, "")
        known = len(inbox.known_instances(study.study))
        if study.instances is not None and known >= study.instances:
            inbox.count_known(study.study, known)
            inbox.settle_delivered()
            inbox.pass_by(place)
            return
        moved = self._move(study, line.open())
        if moved.status == _UNKNOWN_DESTINATION:
            raise MedSiloError("pacs-refused", f"the PACS does not know {self._own_title}, where it is to send")
        complete = moved.status == 0 and not moved.failed
        inbox.settle_delivered(complete=complete)
        if complete:
            inbox.pass_by(place)
        else:
            inbox.refuse(place, "pacs-failed")

    def _move(self, study: FoundStudy, association: Association) -> _Moved:
        identifier = Dataset()
        identifier.QueryRetrieveLevel = "STUDY"
        identifier.StudyInstanceUID = study.study
        last, failed = None, 0
        for status, _ in association.send_c_move(identifier, self._own_title, STUDY_ROOT_MOVE):
            last = int(status.Status) if "Status" in status else None
            failed = int(status.get("NumberOfFailedSuboperations", None) or 0)
        return _Moved(last, failed)


def _found(answers: Iterator[tuple[Dataset, Dataset | None]], silent_at: float) -> Iterator[FoundStudy]:
    for number, (status, study) in enumerate(answers):
        code = status.get("Status")
        if code is None and number == 0 and time.monotonic() < silent_at:
            # Orthanc accepts anybody's association, and breaks it off when a stranger searches.
            raise MedSiloError("pacs-refused", "it broke off the search; does it know this node's AE title?")
        if code is None:
            raise MedSiloError("pacs-unreachable", "the PACS went silent in the middle of a search")
        if code in _PENDING and study is not None:
            instances = study.get("NumberOfStudyRelatedInstances")
            yield FoundStudy(str(study.StudyInstanceUID), None if instances is None else int(instances))
        elif code != 0:
            raise BadInput("pacs-failed", f"the search ended with status 0x{int(code):04x}")
