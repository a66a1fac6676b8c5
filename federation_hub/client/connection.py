"""One HTTPS connection to a hub: JSON in, JSON out, and every failure as a coded error."""

import ipaddress
import ssl
from typing import Any
from urllib.parse import urlsplit

import requests
import truststore
from pydantic import ValidationError
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.util import Retry

from silo_node import __version__
from silo_node.wire.base import Message
from silo_node.wire.errors import PROBLEMS, ConfigError, HubUnavailable, MedSiloError, ProblemDocument, WireError
from silo_node.wire.versions import CURRENT, HEADER

API = "/api/v1"
_CONNECT_SECONDS = 10.0
_READ_SECONDS = 120.0
_RETRIES = Retry(total=3, connect=3, read=0, status=0, other=0, backoff_factor=0.2, allowed_methods=frozenset({"GET"}))


class Connection:
    """A hub's address and a person's token.

    The certificate is checked against the operating system's trust store; a proxy is taken from the environment.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = checked_url(url, secret=token is not None)
        self._session = requests.Session()
        self._session.headers.update({HEADER: str(CURRENT), "User-Agent": f"medsilo/{__version__}"})
        # Without an auth of its own, requests would read ~/.netrc and send the password it finds there instead.
        self._session.auth = _Bearer(token)
        self._session.mount("https://", _SystemTrust(max_retries=_RETRIES))
        self._session.mount("http://", HTTPAdapter(max_retries=_RETRIES))

    def get(self, path: str, **query: str | int | None) -> Any:
        """Return the JSON at a path under the API."""
        return _decoded(self.send("GET", path, params=query))

    def post(self, path: str, body: Message | dict[str, Any] | None = None) -> Any:
        """Post a message or a JSON object and return the JSON answer, or ``None`` where there is none."""
        payload = body.model_dump(mode="json") if isinstance(body, Message) else body
        answer = self.send("POST", path, json=payload if payload is not None else {})
        return _decoded(answer) if answer.content else None

    def send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send one request and return a good answer.

        Raises ``HubUnavailable`` where no hub answered, ``WireError`` where it refused.
        """
        answer = self.exchange(method, path, **arguments)
        if answer.status_code >= 300:
            raise _refusal(answer)
        return answer

    def exchange(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send one request and return the answer, whatever it says; raises ``HubUnavailable`` where there is none."""
        try:
            return self._session.request(
                method,
                self.url + API + path,
                timeout=(_CONNECT_SECONDS, _READ_SECONDS),
                allow_redirects=False,
                **arguments,
            )
        except requests.RequestException as error:
            raise HubUnavailable("hub-unreachable", f"{self.url} does not answer ({type(error).__name__})") from error


class _Bearer(AuthBase):
    """A bearer token, or nothing."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _SystemTrust(HTTPAdapter):
    """Checks certificates against the operating system's store, which knows a hospital's own authority."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs["ssl_context"] = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().init_poolmanager(*args, **kwargs)


def checked_url(url: str, *, secret: bool) -> str:
    """Return a hub's address without its closing slash.

    Raises ``ConfigError`` where it is no web address, or where a token would travel unencrypted to another machine.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError("config-invalid", "the hub's address must look like https://hub.example.org")
    if secret and parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ConfigError("config-invalid", "a token travels only over https:// (http:// is for this machine alone)")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _decoded(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except requests.JSONDecodeError as error:
        raise _not_the_hub(answer) from error


def _refusal(answer: requests.Response) -> MedSiloError:
    try:
        problem = ProblemDocument.model_validate_json(answer.content)
    except ValidationError:
        return _not_the_hub(answer)
    if problem.code not in PROBLEMS:
        return WireError("hub-answer-unreadable", f"the hub is newer than this program and says {problem.code}")
    detail = f"about {', '.join(problem.fields)}" if problem.fields else ""
    kind = HubUnavailable if problem.status == 503 else WireError
    return kind(problem.code, detail)


def _not_the_hub(answer: requests.Response) -> MedSiloError:
    return HubUnavailable("hub-answer-unreadable", f"status {answer.status_code} and no message of a hub")
