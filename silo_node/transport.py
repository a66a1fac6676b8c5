"""One HTTP connection to the hub: trust, proxies, time-outs, and errors in our own words.

The system's certificate store is trusted (``truststore``), and a bundle the configuration adds, so that a hospital's
TLS-inspecting proxy works; integrity does not rest on TLS but on signatures. Redirects are never followed: the token
goes to the address that was enrolled with, and nowhere else.
"""

import contextlib
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ValidationError
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy

from silo_node import __version__
from silo_node.config import NodeConfig
from silo_node.credentials import PROXY, credential
from silo_node.outbox.gate import Cleared
from silo_node.wire.canonical import parse_object
from silo_node.wire.errors import (
    PROBLEMS,
    ConfigError,
    HubUnavailable,
    IntegrityError,
    MedSiloError,
    PolicyRefusal,
    ProblemDocument,
    WireError,
)
from silo_node.wire.proof import PROOF_HEADER, prove
from silo_node.wire.versions import CURRENT, HEADER

M = TypeVar("M", bound=BaseModel)

API = "/api/v1"
TRY_AGAIN = frozenset({"internal-error", "unavailable", "rate-limited", "quota-exceeded", "disk-full"})
"""Codes of the hub after which the same request may succeed later."""


LONGEST_WAIT_SECONDS = 3600.0
"""Whatever it says, the hub is asked again after an hour: a broken proxy must not silence a node for days."""

_LONGEST_DIGITS = 9


class Transport:
    """Requests to one hub on one kept-alive connection. Not for several threads: open one in each."""

    def __init__(
        self, address: str, config: NodeConfig, token: str | None = None, key: Ed25519PrivateKey | None = None
    ) -> None:
        """``key`` signs the requests that hand in a signed statement."""
        self._key = key
        self.address = address.rstrip("/")
        self._timeouts = (config.connect_timeout_seconds, config.read_timeout_seconds)
        proxy = config.proxy or credential(PROXY)
        self._proxies = {"http": proxy, "https": proxy} if proxy else None
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"silo-node/{__version__}", HEADER: str(CURRENT)})
        self._session.headers["Accept-Encoding"] = "identity"
        # An explicit auth keeps requests from reading ~/.netrc, which would put another password in its place.
        self._session.auth = _Bearer(token)
        if self.address.startswith("https:"):
            self._session.mount("https://", TrustedAdapter(trust(config.ca_bundle)))
        self.server_time: datetime | None = None
        """The hub's clock at its last answer, from the ``Date`` header."""

    def request(
        self,
        method: str,
        path: str,
        cleared: Cleared | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Send one request and return the hub's good answer.

        ``path`` begins below ``/api/v1``. Raises :class:`HubUnavailable` where the hub cannot be reached or something
        else answers in its place, and the error of the hub's problem document otherwise.
        """
        content = {"Content-Type": cleared.content_type} if cleared else {}
        if cleared is not None and cleared.statement and self._key is not None:
            content[PROOF_HEADER] = prove(self._key, method, API + path, cleared.body, datetime.now(UTC))
        try:
            response = self._session.request(
                method,
                f"{self.address}{API}{path}",
                data=cast(bytes, cleared.body) if cleared else None,  # a memoryview is sent without a copy
                headers={**content, **(headers or {})},
                timeout=self._timeouts,
                proxies=self._proxies,
                allow_redirects=False,
                stream=stream,
            )
        except requests.RequestException as error:
            raise HubUnavailable("hub-unreachable", _trouble(error)) from None
        self._note_time(response)
        if not response.ok or response.is_redirect:
            with response:
                raise problem(response)
        return response

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _note_time(self, response: requests.Response) -> None:
        with contextlib.suppress(ValueError, TypeError):
            self.server_time = parsedate_to_datetime(response.headers["Date"]) if "Date" in response.headers else None


def parsed(response: requests.Response, kind: type[M]) -> M:
    """Read an answer as exactly this message; raises ``hub-answer-unreadable``."""
    try:
        parse_object(response.content)
        return kind.model_validate_json(response.content)
    except (ValidationError, ValueError, RecursionError):
        raise HubUnavailable("hub-answer-unreadable", f"not a {kind.__name__}") from None
    except requests.RequestException as error:
        raise HubUnavailable("hub-unreachable", _trouble(error)) from None


def problem(response: requests.Response) -> MedSiloError:
    """Return the error a bad answer stands for; one that is not the hub's is ``hub-answer-unreadable``."""
    wait = _asked_to_wait(response)
    unreadable = HubUnavailable("hub-answer-unreadable", f"HTTP status {response.status_code}", retry_after=wait)
    if response.headers.get("Content-Type", "").partition(";")[0].strip() != "application/problem+json":
        return unreadable
    try:
        document = ProblemDocument.model_validate_json(response.content)
    except (ValidationError, requests.RequestException):
        return unreadable
    about = f"the hub names {', '.join(document.fields)}" if document.fields else ""
    if document.code in TRY_AGAIN:
        return HubUnavailable(document.code, retry_after=wait)
    if document.code not in PROBLEMS:
        return WireError("malformed-message", f"the hub says {document.code}")
    return _kind(document.code)(document.code, about)


def _asked_to_wait(response: requests.Response) -> float:
    """Return the seconds of ``Retry-After`` (RFC 9110 section 10.2.3) of a 429 or 503, of the hub or of a proxy."""
    value = response.headers.get("Retry-After", "").strip()
    if response.status_code not in (429, 503) or not value:
        return 0.0
    if value.isdecimal() and len(value) <= _LONGEST_DIGITS:
        return min(float(value), LONGEST_WAIT_SECONDS)
    with contextlib.suppress(ValueError, TypeError):
        left = parsedate_to_datetime(value) - datetime.now(UTC)
        return min(max(left.total_seconds(), 0.0), LONGEST_WAIT_SECONDS)
    return 0.0


def _kind(code: str) -> type[MedSiloError]:
    if code.startswith("policy-"):
        return PolicyRefusal
    return IntegrityError if code in ("digest-mismatch", "size-mismatch", "bad-envelope") else WireError


def _trouble(error: requests.RequestException) -> str:
    """Return what is wrong with the connection, in words that hold no header, body or password."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the certificate is not trusted here; see ca_bundle in silo.toml"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy does not answer or refuses"
    if isinstance(error, requests.exceptions.Timeout):
        return "no answer in time"
    return "no connection"


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class TrustedAdapter(HTTPAdapter):
    """An adapter whose connections, direct or through a proxy, verify with one given context."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """Leave the context alone; requests would add its own list of authorities to it."""
        conn.cert_reqs = "CERT_REQUIRED"


def proxy_for(address: str, config: NodeConfig) -> str | None:
    """Return the forward proxy on the way to an address, or None.

    The configuration's counts first, then the service's credential, then the environment's.
    """
    chosen = config.proxy or credential(PROXY)
    if chosen is not None:
        return chosen
    return select_proxy(address, get_environ_proxies(address))


def trust(bundle: Path | None) -> ssl.SSLContext:
    """Return whom a connection trusts: the system's authorities, and those of a bundle.

    Raises :class:`ConfigError` ``config-invalid`` where the bundle cannot be read.
    """
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if bundle is not None:
        try:
            context.load_verify_locations(cafile=bundle)
        except (OSError, ssl.SSLError):
            raise ConfigError("config-invalid", f"ca_bundle: {bundle} is not a readable PEM file") from None
    return context
