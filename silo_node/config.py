"""The node's configuration: one TOML file, ``silo.toml`` in the state folder.

Every setting has a default, so an empty file is a configuration. A key that is not declared here is refused with a
suggestion, because a limit that is silently not set is worse than a node that does not start. Secrets are never
settings: the token and the key are files of their own, and a proxy's password belongs into ``HTTPS_PROXY``.
"""

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from silo_node.state import Home
from silo_node.wire.benchmarks import Provenance
from silo_node.wire.errors import ConfigError, MedSiloError


class Settings(BaseModel):
    """The base of what people write in TOML: strict, frozen, without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, hide_input_in_errors=True)


S = TypeVar("S", bound=Settings)


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("an address begins with https:// or http:// and names a host")
    if parts.username or parts.password:
        raise ValueError("an address here must not hold a password; use the environment, for example HTTPS_PROXY")
    return value.rstrip("/")


WebAddress = Annotated[str, AfterValidator(_web_address)]


class LimitSettings(Settings):
    """What one jailed process may use. Going over any of them ends the work with ``sandbox-limit``."""

    memory_mb: Annotated[int, Field(ge=256, le=4_000_000)] = 16_000
    """Memory in use by all processes of one jail together, in MB (resident)."""

    file_mb: Annotated[int, Field(ge=1, le=4_000_000)] = 8_000
    """The largest file a jail may write, in MB."""

    scratch_mb: Annotated[int, Field(ge=16, le=1_000_000)] = 1_000
    """Size of a jail's own ``/tmp``, in MB; it is kept in memory."""

    processes: Annotated[int, Field(ge=4, le=10_000)] = 64
    """Processes of one jail at a time."""

    evaluation_minutes: Annotated[float, Field(gt=0, le=100_000)] = 720
    """Wall clock of one evaluation of all its models."""

    round_minutes: Annotated[float, Field(gt=0, le=100_000)] = 720
    """Wall clock of one round of a study at this site."""

    preparation_minutes: Annotated[float, Field(gt=0, le=100_000)] = 720
    """Wall clock of preparing one cohort."""

    disk_free_mb: Annotated[int, Field(ge=0, le=10**9)] = 1_000
    """No task is taken while the state folder's disk has less room than this."""


GraphicsDevice = Annotated[str, Field(pattern=r"^/dev/(nvidia[0-9a-z-]{0,20}|kfd|dxg|dri/renderD[0-9]{1,4})$")]
"""A device file that belongs to a graphics card; no other device of a machine can be named."""


class SandboxSettings(Settings):
    """What jails are made with."""

    driver: Literal["bubblewrap", "podman", "docker"] = "bubblewrap"
    """bubblewrap needs nothing else; podman and docker need an image."""

    image: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._/:-]{0,200}@sha256:[0-9a-f]{64}$")] | None = None
    """The image of a container driver, named by its digest; it must be loaded, and is never pulled."""

    containers: Literal["podman", "docker"] | None = None
    """What runs models with code (tier 3), where the policy lets any in by its digest; the probes try it with ``image``
    at each start. Absent: the driver, where it is one of these, and no such model otherwise."""

    graphics: Annotated[tuple[GraphicsDevice, ...], Field(max_length=32)] | None = None
    """Device files of the graphics card that a study's training gets where the policy grants a share of it
    (``resources.gpu_share``), such as ``["/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm"]``. Absent: all of this
    machine's NVIDIA cards; an empty list: none."""


class PollSettings(Settings):
    """How often the node asks for work. The hub proposes a pause, kept within these bounds."""

    shortest_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 0.1
    """The shortest pause between two questions for work, whatever the hub proposes."""

    longest_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 60
    """The longest pause between two questions for work, whatever the hub proposes."""

    backoff_seconds: Annotated[float, Field(ge=0.05, le=3600)] = 60
    """The longest pause while the hub cannot be reached; pauses double from half a second, with jitter."""


AeTitle = Annotated[str, Field(pattern=r"^[!-\[\]-~][ -\[\]-~]{0,14}[!-\[\]-~]$|^[!-\[\]-~]$")]
"""A DICOM application entity title: 1 to 16 characters, no backslash (PS3.5 section 6.2)."""


class ListenerSettings(Settings):
    """Where the node listens for DICOM objects that a PACS or a device sends it (C-STORE)."""

    address: Annotated[str, Field(min_length=1)] = "127.0.0.1"
    """The address to listen on. Another than this machine's own needs a list of callers, or TLS with client
    certificates: C-STORE itself asks nobody who they are."""

    port: Annotated[int, Field(ge=0, le=65535)] = 11112
    """The port to listen on; 0 takes a free one."""

    called_ae_titles: Annotated[tuple[AeTitle, ...], Field(min_length=1)] = ("MEDSILO",)
    """The application entity titles this node answers to; the first is also its own when it asks a PACS."""

    calling_ae_titles: tuple[AeTitle, ...] = ()
    """The application entities that may send; any that reach the address when empty."""

    tls_certificate: Path | None = None
    """A PEM file with the node's certificate; with it, only TLS is spoken."""

    tls_key: Path | None = None
    """A PEM file with the certificate's key."""

    tls_client_ca: Path | None = None
    """A PEM file of the authority whose certificates senders must show."""

    associations: Annotated[int, Field(ge=1, le=256)] = 10
    """Senders at a time."""

    largest_object_mb: Annotated[int, Field(ge=1, le=2_000)] = 1_000
    """A larger object is refused."""


class PacsSettings(Settings):
    """The PACS that is asked for studies (C-FIND), and to send them to the listener (C-MOVE)."""

    host: str | None = None
    """The PACS's host name or address."""

    port: Annotated[int, Field(ge=1, le=65535)] = 104
    """The PACS's DICOM port."""

    ae_title: AeTitle = "PACS"
    """The PACS's application entity title."""

    tls: bool = False
    """Speak TLS with the PACS."""

    ca_bundle: Path | None = None
    """A PEM file of certificate authorities trusted for the PACS besides the system's."""

    client_certificate: Path | None = None
    """A PEM file with the certificate shown to the PACS."""

    client_key: Path | None = None
    """A PEM file with that certificate's key."""

    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    """How long the PACS may be silent."""


class DicomWebSettings(Settings):
    """The DICOMweb service that studies are searched (QIDO-RS) and fetched from (WADO-RS)."""

    url: WebAddress | None = None
    """The service's root, to which ``/studies`` is added."""

    user: str | None = None
    """The user's name, where the service asks for one; the password is in ``password_file``."""

    password_file: Path | None = None
    """A file with the password alone, readable by its owner alone."""

    token_file: Path | None = None
    """A file with a bearer token alone, readable by its owner alone. It is read again at each request."""

    client_certificate: Path | None = None
    """A PEM file with the certificate shown to the service."""

    client_key: Path | None = None
    """A PEM file with that certificate's key."""

    ca_bundle: Path | None = None
    """A PEM file of certificate authorities trusted for the service besides the system's."""

    proxy: WebAddress | None = None
    """A forward proxy; the environment's ``HTTPS_PROXY`` and ``NO_PROXY`` are used when absent."""

    page: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Studies asked for at a time."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 4
    """How often a request is made before an object is given up."""

    timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    """How long the service may be silent."""


class IntakeSettings(Settings):
    """How images are taken in."""

    quiet_seconds: Annotated[float, Field(ge=0, le=86_400)] = 60
    """A study that is being sent or copied is complete once nothing came of it for so long."""

    quota_mb: Annotated[int, Field(ge=1, le=10**9)] | None = None
    """The most that all DICOM objects in the private store may have together; no bound when absent."""

    external_decoder: Path | None = None
    """DCMTK's ``dcmdjpeg``, tried on JPEG images that no decoder here reads; not used when absent."""

    listener: ListenerSettings = ListenerSettings()
    pacs: PacsSettings = PacsSettings()
    dicomweb: DicomWebSettings = DicomWebSettings()


class NodeConfig(Settings):
    """All settings of a node, with their ranges and defaults."""

    hub_url: WebAddress | None = None
    """The hub's address; taken from the enrolment when absent."""

    provenance: Provenance = "clinical"
    """What is behind this node's cases; shown on every card and leaderboard row."""

    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """Threads a jailed process may compute with."""

    ca_bundle: Path | None = None
    """A PEM file of certificate authorities trusted besides the system's, such as an inspecting proxy's."""

    proxy: WebAddress | None = None
    """A forward proxy; the environment's ``HTTPS_PROXY`` and ``NO_PROXY`` are used when absent."""

    connect_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 10
    """How long the hub may take to accept a connection before it counts as not reachable."""

    read_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    """How long the hub may be silent within an answer."""

    session_idle_minutes: Annotated[float, Field(gt=0, le=100_000)] = 30
    """A study's process is ended after this long without a round; the next round starts it again."""

    check_node: bool = False
    """This node belongs to the hub's operator and checks submitted models on a public demo cohort."""

    development_no_sandbox: bool = False
    """Run tasks without a sandbox. For development only: a model can then read and send anything."""

    log_level: Annotated[str, Field(pattern="^(debug|info|warning|error)$")] = "info"
    """The least serious lines the node's log has: debug, info, warning or error."""

    log_file: Path | None = None
    """Also write the log to this file and keep it small; not needed under systemd, whose journal does both."""

    log_file_mb: Annotated[int, Field(ge=1, le=10_000)] = 20
    """The size at which the log file is put aside and a new one begun."""

    log_files_kept: Annotated[int, Field(ge=1, le=100)] = 5
    """How many log files that were put aside are kept; the oldest is deleted."""

    limits: LimitSettings = LimitSettings()
    sandbox: SandboxSettings = SandboxSettings()
    poll: PollSettings = PollSettings()
    intake: IntakeSettings = IntakeSettings()


def load_config(home: Home) -> NodeConfig:
    """Read a node's ``silo.toml``; a missing file is the defaults.

    Raises :class:`ConfigError`: ``config-unknown-key`` with a suggestion, or ``config-invalid``.
    """
    return read_settings(home.config_file, NodeConfig, ConfigError, "config-invalid")


def web_address(text: str) -> str:
    """Return an address as settings hold it; raises :class:`ConfigError` ``config-invalid``."""
    try:
        return _web_address(text)
    except ValueError as problem:
        raise ConfigError("config-invalid", f"the hub's address: {problem}") from None


def read_settings(path: Path, kind: type[S], error: type[MedSiloError], code: str) -> S:
    """Read one TOML file into a settings class; what is wrong with it raises ``error`` with ``code``."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return kind()
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise error(code, f"{path.name} is not TOML: {problem}") from None
    for key, known in unknown_keys(data, kind):
        raise error("config-unknown-key", f"{path.name} has {key!r}{suggestion(key, known)}")
    try:
        return kind.model_validate_json(json.dumps(data))
    except TypeError:
        raise error(code, f"{path.name}: dates and times are not used here") from None
    except ValidationError as problem:
        raise error(code, f"{path.name}: {first_fault(problem)}") from None


def unknown_keys(data: Mapping[str, Any], kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield each undeclared key, dotted, with the keys that are declared in its place."""
    for key, value in data.items():
        if key not in kind.model_fields:
            yield prefix + key, [prefix + name for name in kind.model_fields]
            continue
        inner = kind.model_fields[key].annotation
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from unknown_keys(value, inner, f"{prefix}{key}.")


def suggestion(key: str, known: list[str]) -> str:
    """Return ``; did you mean 'threads'?`` where a known key is close to a wrong one, else nothing."""
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def first_fault(problem: ValidationError) -> str:
    """Return the first fault of a validation as ``limits.memory_mb: Input should be ...``, never the value."""
    fault = problem.errors(include_input=False, include_url=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
