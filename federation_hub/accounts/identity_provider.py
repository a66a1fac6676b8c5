"""OpenID Connect with one provider: where to send a browser, and whom the answer is about.

The authorization code flow with PKCE (RFC 7636), state and nonce. Only the scope ``openid`` is asked for: the hub
learns issuer and subject and nothing else, above all no e-mail address, which it could mistake for a proof. Authlib
takes a fifth of a second to load, so this module is imported only where a provider is configured.
"""

import ssl
import time
from dataclasses import dataclass
from typing import Any

import requests
import truststore
from authlib.integrations.requests_client import OAuth2Session, OAuthError
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from requests.adapters import HTTPAdapter

from federation_hub.config import HubConfig
from silo_node.wire.errors import ConfigError, MedSiloError

ALGORITHMS = ("RS256", "ES256", "PS256", "EdDSA")
_SECONDS = 10
_LEEWAY = 60
_KEPT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a provider says somebody is; only the pair of both is unique."""

    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class _Discovered:
    """A provider's own description and keys, and until when they are believed."""

    facts: dict[str, Any]
    keys: KeySet
    until: float


class IdentityProvider:
    """One OpenID Connect provider, as the hub's settings name it."""

    def __init__(self, issuer: str, client_id: str, secret: str) -> None:
        self.issuer = issuer
        self._client_id, self._secret = client_id, secret
        self._discovered: _Discovered | None = None

    def authorization_url(self, *, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return where to send the browser; raises ``identity-provider-failed``."""
        endpoint = self._discover().facts["authorization_endpoint"]
        with self._client(redirect_uri) as client:
            url, _ = client.create_authorization_url(endpoint, state=state, nonce=nonce, code_verifier=verifier)
        return str(url)

    def subject(self, *, code: str, redirect_uri: str, nonce: str, verifier: str) -> Subject:
        """Exchange the code for an id token, verify it, and return its subject; raises ``identity-provider-failed``."""
        found = self._discover()
        try:
            with self._client(redirect_uri) as client:
                token = client.fetch_token(found.facts["token_endpoint"], code=code, code_verifier=verifier)
            return self._verified(token, found, nonce)
        except (OAuthError, JoseError, requests.RequestException, KeyError, TypeError, ValueError) as error:
            # Keys may have been exchanged meanwhile: the next attempt asks anew.
            self._discovered = None
            raise MedSiloError("identity-provider-failed", type(error).__name__) from error

    def _verified(self, token: dict[str, Any], found: _Discovered, nonce: str) -> Subject:
        decoded = jwt.decode(token["id_token"], found.keys, algorithms=list(ALGORITHMS))
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {"iss": {"essential": True, "value": self.issuer}, "aud": {"essential": True, "value": self._client_id}},
            {"nonce": nonce, "client_id": self._client_id, "access_token": token.get("access_token")},
        )
        claims.validate(leeway=_LEEWAY)
        subject = claims["sub"]
        if not isinstance(subject, str) or not 1 <= len(subject) <= 255:
            raise ValueError("a subject is 1 to 255 letters")
        return Subject(self.issuer, subject)

    def _client(self, redirect_uri: str) -> Any:
        client = OAuth2Session(
            self._client_id,
            self._secret,
            scope="openid",
            redirect_uri=redirect_uri,
            code_challenge_method="S256",
            default_timeout=_SECONDS,
        )
        return _trusting(client)

    def _discover(self) -> _Discovered:
        known = self._discovered
        if known is None or known.until < time.monotonic():
            known = self._discovered = self._ask()
        return known

    def _ask(self) -> _Discovered:
        """Read the provider's description and keys; it must name itself as the settings do (section 4.3)."""
        try:
            with _trusting(requests.Session()) as session:
                facts = _json(session, self.issuer.rstrip("/") + "/.well-known/openid-configuration")
                if facts.get("issuer") != self.issuer:
                    raise MedSiloError("identity-provider-failed", "the provider names itself otherwise")
                keys = KeySet.import_key_set(_json(session, facts["jwks_uri"]))
        except (requests.RequestException, JoseError, KeyError, TypeError, ValueError) as error:
            raise MedSiloError("identity-provider-failed", type(error).__name__) from error
        return _Discovered(facts, keys, time.monotonic() + _KEPT_SECONDS)


def provider_of(config: HubConfig) -> IdentityProvider:
    """Return the provider a hub is set to; raises ``config-missing`` where the settings are not complete."""
    if config.oidc_issuer is None or config.oidc_client_id is None:
        raise MedSiloError("not-found")
    try:
        secret = config.oidc_secret_path.read_text("utf-8").strip()
    except OSError as error:
        raise ConfigError("config-missing", f"the client's secret belongs in {config.oidc_secret_path}") from error
    return IdentityProvider(config.oidc_issuer, config.oidc_client_id, secret)


class _SystemTrust(HTTPAdapter):
    """Checks certificates against the operating system's store, which knows an institution's own authority."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        kwargs["ssl_context"] = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().init_poolmanager(*args, **kwargs)


def _trusting(session: requests.Session) -> requests.Session:
    session.mount("https://", _SystemTrust())
    return session


def _json(session: requests.Session, url: str) -> Any:
    answer = session.get(url, timeout=_SECONDS, allow_redirects=False)
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    return found
