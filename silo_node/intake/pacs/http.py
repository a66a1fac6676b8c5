"""One HTTP connection to a DICOMweb service: trust, credentials, proxies, repeated attempts, and errors in our words.

What a service answers is not quoted anywhere: it may hold a patient's name.
"""

import base64
import os
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import requests

from silo_node import __version__
from silo_node.config import DicomWebSettings
from silo_node.intake.pacs.tls import client_context
from silo_node.transport import TrustedAdapter
from silo_node.wire.errors import BadInput, ConfigError, MedSiloError

LARGEST_ANSWER = 2 * 2**30
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may succeed a little later."""

_SETTING = "intake.dicomweb"


class DicomWebConnection:
    """GET requests to one service."""

    def __init__(self, settings: DicomWebSettings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Check the settings; raises :class:`ConfigError`."""
        if settings.url is None:
            raise ConfigError("config-missing", f"{_SETTING}.url says where the service is")
        self.url, self._settings, self._sleep = settings.url, settings, sleep
        self._session = requests.Session()
        self._session.headers["User-Agent"] = f"silo-node/{__version__}"
        # An explicit auth keeps requests from reading ~/.netrc, which would put another password in its place.
        self._session.auth = _Credentials(settings)
        if self.url.startswith("https:"):
            context = client_context(
                settings.ca_bundle, settings.client_certificate, settings.client_key, setting=_SETTING
            )
            self._session.mount("https://", TrustedAdapter(context))

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def get(self, path: str, accept: str, parameters: Mapping[str, str | int] | None = None) -> requests.Response:
        """Return the answer to a request, its body read whole.

        Raises what ends every request alike: ``pacs-unreachable``, ``pacs-certificate``, ``pacs-refused``;
        and ``pacs-failed`` (:class:`BadInput`) when this one request fails after all attempts.
        """
        for attempt in range(self._settings.attempts):
            if attempt:
                self._sleep(min(2.0 ** (attempt - 1), 30.0))
            response = self._get_once(path, accept, parameters, last=attempt + 1 == self._settings.attempts)
            if response is not None:
                return response
        raise BadInput("pacs-failed")

    def _get_once(
        self, path: str, accept: str, parameters: Mapping[str, str | int] | None, *, last: bool
    ) -> requests.Response | None:
        """Return a good answer, or None where another attempt may help."""
        proxy = self._settings.proxy
        try:
            response = self._session.get(
                f"{self.url}{path}",
                # Orthanc 1.10 takes %2A for a text to match, so wildcards stay as they are (RFC 3986 allows it).
                params=urlencode(parameters or {}, safe="*?", quote_via=quote),
                headers={"Accept": accept},
                timeout=self._settings.timeout_seconds,
                proxies={"http": proxy, "https": proxy} if proxy else None,
                allow_redirects=False,
            )
        except requests.exceptions.SSLError:
            raise MedSiloError("pacs-certificate", self.url) from None
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError):
            return None
        except requests.RequestException:
            if last:
                raise MedSiloError("pacs-unreachable", self.url) from None
            return None
        return None if response.status_code in _AGAIN else _checked(response)


def _checked(response: requests.Response) -> requests.Response:
    if response.status_code in (401, 403, 407):
        raise MedSiloError("pacs-refused", f"status {response.status_code}")
    if response.status_code not in (200, 204, 206):
        raise BadInput("pacs-failed", f"status {response.status_code}")
    return response


class _Credentials(requests.auth.AuthBase):
    """A bearer token or a user's password, from files only their owner may read."""

    def __init__(self, settings: DicomWebSettings) -> None:
        self._settings = settings
        self._header()

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        header = self._header()
        if header is not None:
            request.headers["Authorization"] = header
        return request

    def _header(self) -> str | None:
        settings = self._settings
        if settings.token_file is not None:
            return f"Bearer {_secret(settings.token_file, 'token_file')}"
        if settings.user is not None:
            if settings.password_file is None:
                raise ConfigError("config-missing", f"{_SETTING}.password_file")
            pair = f"{settings.user}:{_secret(settings.password_file, 'password_file')}"
            return f"Basic {base64.b64encode(pair.encode()).decode()}"
        return None


def _secret(path: Path, setting: str) -> str:
    try:
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError("config-invalid", f"{_SETTING}.{setting} may be read by others; run chmod 600 on it")
            return file.read().decode().strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigError("config-invalid", f"{_SETTING}.{setting} cannot be read") from None
