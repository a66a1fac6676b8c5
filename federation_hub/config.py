"""The hub's settings: ``hub.toml`` in its home folder, every key declared, unknown keys refused."""

import difflib
import os
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_path
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from silo_node.wire.errors import ConfigError

HOME_VARIABLE = "FEDERATION_HUB_HOME"
_MIB = 1024 * 1024


class HubConfig(BaseModel):
    """Everything an operator can set. Sizes are bytes, times seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    home: Path
    """The folder of all state; not a key of ``hub.toml``."""

    name: Annotated[str, Field(min_length=1, max_length=120)] = "MedSilo hub"
    """Shown on every page, and to a hospital before it enrols."""

    database_url: str | None = None
    """SQLAlchemy URL; by default ``hub.sqlite`` in the home folder."""

    threads: Annotated[int, Field(ge=1, le=64)] = 8
    """Requests answered at the same time."""

    lease_seconds: Annotated[float, Field(gt=0, le=86_400)] = 60
    """How long a silo may be silent about a task before it is offered again."""

    maximum_attempts: Annotated[int, Field(ge=1, le=100)] = 10
    """How often one task may be claimed before it is given up."""

    poll_idle_seconds: Annotated[float, Field(gt=0, le=600)] = 5
    """How long a silo for which there is nothing to do is told to wait before it asks again."""

    requests_per_minute: Annotated[int, Field(ge=60)] = 3000
    """How many API requests one token may make; a tenth of it at once. A silo in an open round makes 600."""

    anonymous_requests_per_minute: Annotated[int, Field(ge=10)] = 600
    """How many API requests without a token one address may make; a quarter of it at once."""

    trusted_proxy: str | None = None
    """Address of the reverse proxy in front, such as ``127.0.0.1``: its ``X-Forwarded-For`` is then believed. Without
    it all callers behind the proxy count as one address."""

    silo_token_days: Annotated[int, Field(ge=1, le=3650)] | None = 365
    """How long a silo's token is good for; ``silo-node rotate-key`` takes a new one. Absent: for ever."""

    key_overlap_hours: Annotated[float, Field(ge=0, le=720)] = 24
    """How long a silo's earlier key and token count after it has rotated them."""

    enrolment_code_seconds: Annotated[float, Field(gt=0, le=86_400)] = 900
    """How long a hospital's one-time code is good for."""

    maximum_bundle_bytes: Annotated[int, Field(ge=_MIB)] = 4096 * _MIB
    """The largest model bundle anybody may submit."""

    maximum_message_bytes: Annotated[int, Field(ge=64 * 1024)] = 32 * _MIB
    """The largest JSON message the hub reads."""

    chunk_bytes: Annotated[int, Field(ge=64 * 1024, le=64 * _MIB)] = 8 * _MIB
    """How much of an upload the hub asks for in one request."""

    model_tiers: tuple[Literal[1, 2, 3], ...] = (1,)
    """Models that may be submitted: 1, code-free bundles; 2, ONNX; 3, containers, of which a bundle names the image. A
    site runs what its own policy lets in, and serves the other models of an evaluation all the same."""

    submissions_per_month: Annotated[int, Field(ge=1, le=100_000)] = 100
    """Different models one organisation may submit in a calendar month; each site has a budget of its own."""

    recommended_node: Annotated[str, Field(pattern=r"^[0-9a-z.+-]{1,40}$")] | None = None
    """The release of the node that hospitals are told to upgrade to; this hub's own release where absent."""

    public_url: Annotated[str, Field(pattern=r"^https?://[^/?#\s]+$", max_length=200)] | None = None
    """Address under which browsers reach the hub, such as ``https://hub.example.org``. Links in invitations, the
    address for `medsilo login` and the identity provider's way back begin with it; with https, cookies travel over
    nothing else. Absent: whatever address a request names."""

    session_idle_minutes: Annotated[float, Field(gt=0, le=1440)] = 60
    """After how many minutes without a request a signed-in browser is signed out."""

    session_hours: Annotated[float, Field(gt=0, le=168)] = 12
    """How long a browser stays signed in at most."""

    device_poll_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    """How often a program that waits for `medsilo login` to be approved may ask."""

    oidc_issuer: Annotated[str, Field(pattern=r"^https?://\S+$", max_length=200)] | None = None
    """Issuer of the OpenID Connect provider people may sign in with. The client's secret is the file ``oidc-secret``
    in the home folder; the provider's redirect address is `/sign-in/oidc/callback` under ``public_url``."""

    oidc_client_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The hub's client id at that provider."""

    oidc_name: Annotated[str, Field(min_length=1, max_length=60)] = "your institution"
    """What the sign-in page calls the provider: "Sign in with ..."."""

    metrics: Literal["local", "open", "off"] = "local"
    """Who may read ``/metrics``: callers on this machine, everybody, or nobody. It holds aggregated numbers only."""

    development: bool = False
    """Shown to every silo and reader: this hub is not for real use."""

    @property
    def silo_token_lifetime(self) -> timedelta | None:
        return None if self.silo_token_days is None else timedelta(days=self.silo_token_days)

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'hub.sqlite'}"

    @property
    def engine_path(self) -> Path:
        return self.home / "engine.sqlite"

    @property
    def blobs_path(self) -> Path:
        return self.home / "blobs"

    @property
    def key_path(self) -> Path:
        return self.home / "key.pem"

    @property
    def identity_provider(self) -> str | None:
        """Return what pages call the identity provider, or None where there is none."""
        return self.oidc_name if self.oidc_issuer else None

    @property
    def oidc_secret_path(self) -> Path:
        return self.home / "oidc-secret"

    @property
    def admin_token_path(self) -> Path:
        return self.home / "admin-token"


def default_home() -> Path:
    """Return the home folder where none is given: ``$FEDERATION_HUB_HOME`` or the user's data folder."""
    return Path(os.environ.get(HOME_VARIABLE) or user_data_path("federation-hub"))


def load_config(home: Path) -> HubConfig:
    """Read ``hub.toml`` in a home folder, or the defaults; raises :class:`ConfigError` and names the key."""
    path = home / "hub.toml"
    try:
        values = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("config-invalid", f"{path} is not TOML") from error
    _refuse_unknown(values, path)
    try:
        return HubConfig(home=home.resolve(), **values)
    except ValidationError as error:
        key = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ConfigError("config-invalid", f"{key} in {path}") from error


def _refuse_unknown(values: dict[str, Any], path: Path) -> None:
    known = sorted(set(HubConfig.model_fields) - {"home"})
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1)
            raise ConfigError("config-unknown-key", f"{key} in {path}" + (f"; did you mean {near[0]}?" if near else ""))
