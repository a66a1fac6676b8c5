"""Whose certificate the hub's connection shows: the hub's own, or one a hospital's inspecting proxy made."""

import base64
import http.client
import ssl
from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

from silo_node.config import NodeConfig
from silo_node.doctor.findings import Finding, failed, skipped, warning, well
from silo_node.transport import proxy_for, trust
from silo_node.wire.errors import MedSiloError

SOON_DAYS = 14


def check_certificate(address: str, config: NodeConfig) -> list[Finding]:
    """SN-NET-005: the certificate is trusted, and lasts. Without TLS there is none to check."""
    if urlsplit(address).scheme != "https":
        return []
    try:
        context = trust(config.ca_bundle)
    except MedSiloError as error:
        return [failed("SN-NET-005", str(error), error.hint)]
    try:
        certificate = served(address, config, context)
    except ssl.SSLCertVerificationError as error:
        return [_distrusted(address, config, error)]
    except (OSError, http.client.HTTPException):
        return [skipped("SN-NET-005", "no connection, so no certificate")]
    return [judge(certificate, config, datetime.now(UTC))]


def judge(certificate: x509.Certificate, config: NodeConfig, now: datetime) -> Finding:
    """Return what is to be said of a certificate that is trusted."""
    days = (certificate.not_valid_after_utc - now).days
    if days < SOON_DAYS:
        text = f"the certificate of {_name(certificate.issuer)} ends in {max(days, 0)} days"
        return warning("SN-NET-005", text, "tell the admin of the hub, or of the proxy that made it")
    if _made_by_bundle(certificate, config):
        text = f"a proxy of {_name(certificate.issuer)} opens TLS; ca_bundle trusts it, and signatures keep integrity"
        return well("SN-NET-005", text)
    return well("SN-NET-005", f"the certificate of {_name(certificate.issuer)} is trusted for {days} more days")


def served(address: str, config: NodeConfig, context: ssl.SSLContext) -> x509.Certificate:
    """Return the certificate that is shown on the way to an address, through the proxy where there is one.

    Raises ``OSError`` (``ssl.SSLCertVerificationError`` where the context does not trust it).
    """
    parts, proxy = urlsplit(address), proxy_for(address, config)
    host, port = parts.hostname or "", parts.port or 443
    there = urlsplit(proxy) if proxy else parts
    connection = http.client.HTTPSConnection(
        there.hostname or "",
        there.port or (80 if proxy else 443),
        context=context,
        timeout=config.connect_timeout_seconds,
    )
    if proxy:
        connection.set_tunnel(host, port, headers=_authorization(there.username, there.password))
    try:
        connection.connect()
        shown = connection.sock.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown or b"")
    finally:
        connection.close()


def _distrusted(address: str, config: NodeConfig, error: ssl.SSLCertVerificationError) -> Finding:
    """Look at the certificate again without trusting it, to name who made it."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    try:
        maker = _name(served(address, config, blind).issuer)
    except (OSError, http.client.HTTPException, ValueError):
        maker = "an unknown authority"
    return failed("SN-NET-005", f"the certificate made by {maker} is not trusted: {error.verify_message}")


def _made_by_bundle(certificate: x509.Certificate, config: NodeConfig) -> bool:
    if config.ca_bundle is None:
        return False
    known = x509.load_pem_x509_certificates(config.ca_bundle.read_bytes())
    return any(authority.subject == certificate.issuer for authority in known)


def _name(name: x509.Name) -> str:
    for kind in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        found = name.get_attributes_for_oid(kind)
        if found:
            return str(found[0].value)
    return "an authority without a name"


def _authorization(name: str | None, password: str | None) -> dict[str, str]:
    if name is None:
        return {}
    pair = f"{unquote(name)}:{unquote(password or '')}".encode()
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair).decode()}"}
