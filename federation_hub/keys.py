"""The hub's Ed25519 key: it signs tasks, and silos pin its public half when they enrol."""

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silo_node.wire.envelope import key_from_pem, key_to_pem, new_key
from silo_node.wire.errors import ConfigError


def load_or_make_key(path: Path) -> Ed25519PrivateKey:
    """Return the key in a PEM file, made at the first call; raises ``config-invalid`` where others may read it."""
    if not path.exists():
        write_secret(path, key_to_pem(new_key()))
    if path.stat().st_mode & 0o077:
        raise ConfigError("config-invalid", f"{path} must be readable by its owner only (chmod 600)")
    try:
        return key_from_pem(path.read_bytes())
    except ValueError as error:
        raise ConfigError("config-invalid", f"{path} is not an Ed25519 key in PEM") from error


def write_secret(path: Path, data: bytes) -> None:
    """Create a file that only its owner may read, whole or not at all; raises ``FileExistsError``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
