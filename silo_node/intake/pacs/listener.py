"""The C-STORE listener: a storage service class provider (PS3.4 annex B) for what a PACS or a device sends.

The sender gets its answer once the object is flushed to the disk and booked, so what it was told is kept survives a
power cut. Nothing of an object is logged.
"""

import ipaddress
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pydicom.dataset import Dataset
from pynetdicom import AE, AllStoragePresentationContexts, evt

from silo_node.config import ListenerSettings
from silo_node.intake.objects.inbox import Inbox
from silo_node.intake.pacs.tls import listener_context
from silo_node.intake.source import Item
from silo_node.wire.errors import BadInput, ConfigError, MedSiloError

VERIFICATION = "1.2.840.10008.1.1"
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian, retired
    "1.2.840.10008.1.2.4.50",  # JPEG Baseline
    "1.2.840.10008.1.2.4.51",  # JPEG Extended
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, first-order prediction
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS Near-lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.201",  # High-Throughput JPEG 2000 Lossless
    "1.2.840.10008.1.2.4.202",  # High-Throughput JPEG 2000 Lossless, RPCL
    "1.2.840.10008.1.2.4.203",  # High-Throughput JPEG 2000
    "1.2.840.10008.1.2.5",  # RLE Lossless
)
"""Those of still images. Video is not taken in, and each syntax costs time at every association."""

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
REFUSED = {"duplicate-conflict": 0xC010, "image-invalid": 0xC020, "not-dicom": 0xC030, "file-undecodable": 0xC030}
"""Failure statuses of the range that PS3.4 table B.2-1 leaves to the implementation, "cannot understand"."""

_NO_ROOM = frozenset({"quota-exceeded", "disk-full"})
_BUSY = 0xA701


class Listener:
    """Listens while :meth:`deliver` runs, until :attr:`stop` is set."""

    kind = "c-store"
    by_quiet = True

    def __init__(self, settings: ListenerSettings, *, on_listening: Callable[[int], None] = lambda port: None) -> None:
        """Check the settings; raises ``config-invalid`` for an address anybody may send to.

        ``on_listening`` is called with the port once senders are answered.
        """
        _refuse_open_door(settings)
        self.root = f"c-store:{settings.address}:{settings.port}"
        self.stop = threading.Event()
        self._on_listening = on_listening
        self._settings, self._tls = settings, listener_context(settings)

    def deliver(self, inbox: Inbox) -> None:
        """Take what is sent until told to stop; raises ``listener-unavailable``."""
        with self.open(inbox):
            self.stop.wait()

    @contextmanager
    def open(self, inbox: Inbox) -> Iterator[None]:
        """Listen inside the block."""
        entity = self._entity()
        handlers: list[Any] = [
            (evt.EVT_REQUESTED, self._answer_to_own_titles),
            (evt.EVT_C_STORE, self._store, [inbox]),
            (evt.EVT_C_ECHO, lambda event: SUCCESS),
        ]
        address = (self._settings.address, self._settings.port)
        try:
            server = entity.start_server(address, block=False, ssl_context=self._tls, evt_handlers=handlers)
        except (OSError, socket.gaierror):
            raise ConfigError("listener-unavailable", f"{address[0]} port {address[1]}") from None
        try:
            self._on_listening(int(server.server_address[1]) if server is not None else address[1])
            yield
        finally:
            entity.shutdown()

    def _entity(self) -> AE:
        silence()
        entity = AE(ae_title=self._settings.called_ae_titles[0])
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(str(context.abstract_syntax), list(TRANSFER_SYNTAXES))
        entity.add_supported_context(VERIFICATION)
        entity.require_called_aet = True
        entity.require_calling_aet = list(self._settings.calling_ae_titles)
        entity.maximum_associations = self._settings.associations
        return entity

    def _answer_to_own_titles(self, event: Any) -> None:
        """Let an association be asked for under each of the titles; pynetdicom compares with one."""
        called = event.assoc.requestor.primitive.called_ae_title.strip()
        if called in self._settings.called_ae_titles:
            event.assoc.acceptor.ae_title = called

    def _store(self, event: Any, inbox: Inbox) -> int | Dataset:
        request = event.request
        instance, caller = str(request.AffectedSOPInstanceUID), event.assoc.requestor.ae_title.strip()
        if request.DataSet.getbuffer().nbytes > self._settings.largest_object_mb * 2**20:
            return _status(OUT_OF_RESOURCES, "the object is larger than the site allows")
        try:
            inbox.receive(Item(f"{caller}/{instance}", ""), event.encoded_dataset(), instance=instance)
        except BadInput as refusal:
            return _status(REFUSED.get(refusal.code, 0xC000), refusal.code)
        except MedSiloError as refusal:
            return _status(OUT_OF_RESOURCES if refusal.code in _NO_ROOM else _BUSY, refusal.code)
        return SUCCESS


def silence() -> None:
    """Keep pynetdicom's log records, which may quote what travels, out of every log."""
    logger = logging.getLogger("pynetdicom")
    logger.propagate = False
    logger.setLevel(logging.CRITICAL)


def _status(code: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status = code
    answer.ErrorComment = comment
    return answer


def _refuse_open_door(settings: ListenerSettings) -> None:
    if settings.calling_ae_titles or (settings.tls_certificate and settings.tls_client_ca):
        return
    if settings.address == "localhost":
        return
    with suppress(ValueError):
        if ipaddress.ip_address(settings.address).is_loopback:
            return
    raise ConfigError(
        "config-invalid",
        "intake.listener.calling_ae_titles: name who may send before listening on an address others reach",
    )
