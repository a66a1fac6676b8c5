"""TLS on DICOM connections: what each side shows, and whom it trusts."""

import ssl
from pathlib import Path

from silo_node.config import ListenerSettings
from silo_node.wire.errors import ConfigError


def listener_context(settings: ListenerSettings) -> ssl.SSLContext | None:
    """Return what the listener speaks TLS with, None for plain DICOM; raises ``config-invalid``."""
    if settings.tls_certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _show(context, settings.tls_certificate, settings.tls_key, "intake.listener.tls_certificate")
    if settings.tls_client_ca is not None:
        _trust(context, settings.tls_client_ca, "intake.listener.tls_client_ca")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(bundle: Path | None, certificate: Path | None, key: Path | None, *, setting: str) -> ssl.SSLContext:
    """Return what a connection to a PACS is verified with: the system's authorities, and those of ``bundle``."""
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if bundle is not None:
        _trust(context, bundle, f"{setting}.ca_bundle")
    if certificate is not None:
        _show(context, certificate, key, f"{setting}.client_certificate")
    return context


def _show(context: ssl.SSLContext, certificate: Path, key: Path | None, setting: str) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError):
        raise ConfigError("config-invalid", f"{setting}: not a readable PEM file with its key") from None


def _trust(context: ssl.SSLContext, bundle: Path, setting: str) -> None:
    try:
        context.load_verify_locations(cafile=bundle)
    except (OSError, ssl.SSLError):
        raise ConfigError("config-invalid", f"{setting}: not a readable PEM file") from None
