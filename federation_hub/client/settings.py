"""Where the researcher's programs find the hub and the token: the environment first, then one TOML file."""

import difflib
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import platformdirs

from silo_node.wire.errors import ConfigError


@dataclass(frozen=True)
class ClientSettings:
    """The settings of ``medsilo``, each also an environment variable ``MEDSILO_<NAME>``."""

    hub: str | None = None
    """Address of the hub, such as ``https://hub.example.org``."""

    token_file: Path | None = None
    """File that holds your token and nothing else. The token itself is never a setting and never an argument."""


def settings_file() -> Path:
    """Return the path of the settings file, ``client.toml`` in the user's configuration folder."""
    return platformdirs.user_config_path("medsilo") / "client.toml"


def load_settings(environment: Mapping[str, str] | None = None, path: Path | None = None) -> ClientSettings:
    """Return the settings of this user; a variable of the environment wins over the file.

    Raises ``ConfigError`` where the file is no TOML, has an unknown key or a value that is no text.
    """
    given = os.environ if environment is None else environment
    values = _read(path or settings_file())
    for field in fields(ClientSettings):
        values[field.name] = given.get(f"MEDSILO_{field.name.upper()}") or values.get(field.name)
    token_file = values["token_file"]
    return ClientSettings(hub=values["hub"], token_file=Path(token_file).expanduser() if token_file else None)


def save_settings(settings: ClientSettings, path: Path | None = None) -> Path:
    """Write the settings for later commands and return the file's path."""
    target = path or settings_file()
    target.parent.mkdir(parents=True, exist_ok=True)
    given = {"hub": settings.hub, "token_file": str(settings.token_file) if settings.token_file else None}
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}\n" for name, value in given.items() if value]
    target.write_text("".join(lines), encoding="utf-8")
    return target


def read_token(path: Path) -> str:
    """Return the token in a file. Raises ``ConfigError`` where there is no file or no token of a person in it."""
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("file-missing", f"the token file {path} cannot be read") from error
    if not token.startswith("msp_") or len(token.split()) != 1:
        raise ConfigError("config-invalid", f"{path} does not hold a token of a person (msp_...) and nothing else")
    return token


def _read(path: Path) -> dict[str, str | None]:
    if not path.is_file():
        return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError("config-invalid", f"{path} is not readable TOML") from error
    known = [field.name for field in fields(ClientSettings)]
    for key, value in table.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            raise ConfigError("config-unknown-key", f"{key} in {path}" + (f"; did you mean {near[0]}?" if near else ""))
        if not isinstance(value, str):
            raise ConfigError("config-invalid", f"{key} in {path} must be text in quotes")
    return dict(table)
