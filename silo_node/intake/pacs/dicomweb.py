"""Studies from a DICOMweb service: searched with QIDO-RS, fetched as whole instances with WADO-RS (PS3.18).

Whole instances, because frames are refused by common servers unless asked for in exactly their words, and because the
bytes of the object are what is kept. The requests are made here and not through a client library, which decodes what
it fetched and could only give back what it would write itself.
"""

from collections.abc import Iterator
from typing import Any

from silo_node.intake.objects.inbox import Inbox
from silo_node.intake.pacs.http import DicomWebConnection
from silo_node.intake.pacs.multipart import only_part
from silo_node.intake.pacs.query import FoundStudy, StudyQuery
from silo_node.intake.source import Item
from silo_node.wire.errors import BadInput

_JSON = "application/dicom+json"
_INSTANCE = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_STUDY_UID, _INSTANCES, _SERIES_UID, _INSTANCE_UID = "0020000D", "00201208", "0020000E", "00080018"


class DicomWebSource:
    """The studies of a service that match a search."""

    kind = "dicomweb"
    by_quiet = False

    def __init__(self, connection: DicomWebConnection, query: StudyQuery, *, page: int = 200) -> None:
        self.root = connection.url
        self._connection, self._query, self._page = connection, query, page

    def deliver(self, inbox: Inbox) -> None:
        """Fetch every instance that is not here yet, study by study; a study is settled once all of it is here.

        An instance the service fails to give is quarantined as ``pacs-failed``; run again, it is asked for again.
        Raises ``pacs-unreachable``, ``pacs-refused``, ``pacs-certificate``.
        """
        for study in self.studies():
            try:
                instances = self.instances(study)
            except BadInput as refusal:
                inbox.refuse(Item(study.study, ""), refusal.code)
                continue
            inbox.pass_by(Item(study.study, ""))
            known = inbox.known_instances(study.study)
            missing = [item for item in instances if _uid(item) not in known]
            inbox.count_known(study.study, len(instances) - len(missing))
            failed = inbox.received.refused["pacs-failed"]
            inbox.take_each(missing, self._fetch, total=len(missing))
            inbox.settle_delivered(complete=inbox.received.refused["pacs-failed"] == failed)

    def studies(self) -> Iterator[FoundStudy]:
        """Search page by page until a page brings nothing new. Raises ``pacs-failed`` when the search itself fails."""
        seen: set[str] = set()
        while True:
            parameters: dict[str, str | int] = {
                **self._query.keys(),
                "limit": self._page,
                "offset": len(seen),
                "includefield": _INSTANCES,
            }
            page = self._search("/studies", parameters)
            new = [study for study in page if _value(study, _STUDY_UID) not in seen]
            for study in new:
                uid = _value(study, _STUDY_UID)
                if uid:
                    seen.add(uid)
                    yield FoundStudy(uid, _number(_value(study, _INSTANCES)))
            # Some services ignore offset and limit and send all of it each time.
            if not new or len(page) < self._page:
                return

    def instances(self, study: FoundStudy) -> list[Item]:
        """Return a study's instances, each located as ``study/series/instance``."""
        found: dict[str, Item] = {}
        while True:
            page = self._search(f"/studies/{study.study}/instances", {"limit": 1000, "offset": len(found)})
            before = len(found)
            for entry in page:
                series, instance = _value(entry, _SERIES_UID), _value(entry, _INSTANCE_UID)
                if series and instance:
                    found[instance] = Item(f"{study.study}/{series}/{instance}", instance)
            if len(found) == before or len(page) < 1000:
                return list(found.values())

    def _fetch(self, item: Item) -> bytes:
        study, series, instance = item.locator.split("/")
        path = f"/studies/{study}/series/{series}/instances/{instance}"
        answer = self._connection.get(path, _INSTANCE)
        return only_part(answer.headers.get("Content-Type", ""), answer.content)

    def _search(self, path: str, parameters: dict[str, str | int]) -> list[dict[str, Any]]:
        answer = self._connection.get(path, _JSON, parameters)
        if answer.status_code == 204 or not answer.content:
            return []
        try:
            found = answer.json()
        except ValueError:
            raise BadInput("pacs-failed", "the answer to a search is not JSON") from None
        if not isinstance(found, list):
            raise BadInput("pacs-failed", "the answer to a search is not a list")
        return [entry for entry in found if isinstance(entry, dict)]


def _uid(item: Item) -> str:
    return item.locator.rpartition("/")[2]


def _value(entry: dict[str, Any], tag: str) -> str:
    """Return an attribute's first value as text; the DICOM JSON model (PS3.18 annex F) wraps each in a list."""
    element = entry.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return str(values[0]) if isinstance(values, list) and values else ""


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
