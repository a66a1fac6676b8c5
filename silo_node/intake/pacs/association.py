"""An association with the site's PACS, and the reason where there is none."""

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pynetdicom import AE
from pynetdicom.association import Association

from silo_node.config import PacsSettings
from silo_node.intake.pacs.listener import silence
from silo_node.intake.pacs.tls import client_context
from silo_node.wire.errors import ConfigError, MedSiloError


class Pacs:
    """How the PACS is reached, and as whom."""

    def __init__(self, settings: PacsSettings, own_title: str) -> None:
        """Check the settings; raises :class:`ConfigError`."""
        if settings.host is None:
            raise ConfigError("config-missing", "intake.pacs.host says where the PACS is")
        self.root = f"{settings.ae_title}@{settings.host}:{settings.port}"
        self._settings, self._host, self._own_title = settings, settings.host, own_title
        self._tls = (
            client_context(settings.ca_bundle, settings.client_certificate, settings.client_key, setting="intake.pacs")
            if settings.tls
            else None
        )

    @contextmanager
    def association(self, contexts: Sequence[str], purpose: str) -> Iterator[Association]:
        """Hold an association that proposes some abstract syntaxes; ``purpose`` says what for, where it is refused.

        Raises ``pacs-unreachable``, ``pacs-refused``, ``pacs-certificate``.
        """
        silence()
        entity = AE(ae_title=self._own_title)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = self._settings.timeout_seconds
        entity.connection_timeout = self._settings.timeout_seconds
        for context in contexts:
            entity.add_requested_context(context)
        tls: Any = (self._tls, self._host) if self._tls else None
        try:
            found = entity.associate(self._host, self._settings.port, ae_title=self._settings.ae_title, tls_args=tls)
        except OSError:
            raise MedSiloError("pacs-unreachable", self.root) from None
        if not found.is_established:
            raise self._refusal(found, purpose)
        try:
            yield found
        finally:
            if found.is_established:
                found.release()

    def _refusal(self, association: Association, purpose: str) -> MedSiloError:
        if association.is_rejected:
            answer = association.acceptor.primitive
            reasons = {3: f"it does not know {self._own_title}", 7: f"it is not called {self._settings.ae_title}"}
            return MedSiloError("pacs-refused", reasons.get(int(getattr(answer, "diagnostic", 0) or 0), ""))
        if association.acceptor.primitive is not None:
            return MedSiloError("pacs-refused", f"it does not offer {purpose} to this node")
        return MedSiloError("pacs-certificate" if self._certificate_is_refused() else "pacs-unreachable", self.root)

    def _certificate_is_refused(self) -> bool:
        """Tell whether it was TLS that failed; pynetdicom does not say why it could not connect."""
        if self._tls is None:
            return False
        try:
            with socket.create_connection((self._host, self._settings.port), self._settings.timeout_seconds) as plain:
                self._tls.wrap_socket(plain, server_hostname=self._host).close()
        except ssl.SSLError:
            return True
        except OSError:
            return False
        return False
