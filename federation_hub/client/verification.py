"""Checking what a hub says, here and with nothing but what it published: each check answers yes, no or says why not.

A reader need not trust the hub for any of it. What only the hub could know stays unknown and is told as such: that the
inputs are all there were, and that a hospital's signature stands under each of them, which names the hospital.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from federation_hub.client.hub import Hub
from federation_hub.client.recompute import recompute, versions_here
from federation_hub.export.manifest import SITE_MANIFEST, SiteManifest, names_below
from silo_node.wire.canonical import canonical_bytes, message_digest, parse_object
from silo_node.wire.digests import digest_bytes, digest_file
from silo_node.wire.envelope import (
    BadEnvelope,
    Envelope,
    is_signed_by,
    key_fingerprint,
    open_envelope,
    public_key_from_text,
)
from silo_node.wire.errors import BadInput, MedSiloError, WireError

Answer = Literal["yes", "no", "unknown"]
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked of one subject, and what came of it."""

    subject: str
    question: str
    answer: Answer
    detail: str = ""


def _check(subject: str, question: str, holds: bool, detail: str = "") -> Check:
    return Check(subject, question, "yes" if holds else "no", "" if holds else detail)


def snapshot_checks(body: bytes, digest: str, inputs: bytes | None, why_not: str = "") -> Iterator[Check]:
    """Check a leaderboard's snapshot against its digest and, where they are public, against its inputs."""
    named = digest_bytes(body) == digest
    yield _check(digest, "The bytes are what the digest names", named, f"they are {digest_bytes(body)}")
    try:
        board = parse_object(body)
        canonical = canonical_bytes(board) == body
    except ValueError:
        board, canonical = {}, False
    yield _check(digest, "They are canonical JSON (RFC 8785)", canonical, "other bytes would say the same")
    if inputs is None:
        yield Check(digest, "The inputs give these very bytes", "unknown", why_not or "the inputs are not here")
    elif named:
        yield from _input_checks(body, board, digest, inputs)


def _input_checks(body: bytes, board: Mapping[str, Any], digest: str, inputs: bytes) -> Iterator[Check]:
    try:
        found = parse_object(inputs)
        definition = message_digest(found["definition"]) == board["benchmark"]["digest"] == found["benchmark_digest"]
        listed = {(one["site"], one["digest"]) for one in found["blocks"]}
        blocks = {(one["site"], one["block"]) for one in board["inputs"]} <= listed
        again = recompute(body, inputs, digest=digest)
    except (ValueError, KeyError, TypeError, MedSiloError) as error:
        yield Check(digest, "The inputs give these very bytes", "no", f"they cannot be read: {error}")
        return
    yield _check(digest, "The benchmark's definition is the one the board names", definition)
    yield _check(digest, "Every signed result the board names is among the inputs", blocks)
    detail = f"{', '.join(again.differences)} differ; published with {again.published_with}, {versions_here()} here"
    yield _check(digest, "The inputs give these very bytes", again.same, detail)


def hub_checks(hub: Hub, digest: str) -> Iterator[Check]:
    """Fetch a leaderboard or a benchmark's definition by its digest and check it here; raises ``not-found``."""
    try:
        body = hub.snapshot(digest)
    except MedSiloError as error:
        if error.code != "not-found":
            raise
        yield from _definition_checks(hub, digest)
        return
    try:
        inputs, why_not = hub.snapshot_inputs(digest), ""
    except MedSiloError as error:
        if error.code not in ("inputs-withheld", "not-found"):
            raise
        inputs, why_not = None, error.title
    yield from snapshot_checks(body, digest, inputs, why_not)


def _definition_checks(hub: Hub, digest: str) -> Iterator[Check]:
    found = next((one for one in hub.benchmarks() if one["digest"] == digest), None)
    if found is None:
        raise WireError("not-found", "no leaderboard and no benchmark of this hub; a model is checked as a file")
    again = message_digest(hub.definition(found["name"], found["version"]))
    yield _check(digest, f"The definition of {found['name']} is what the digest names", again == digest, again)


def folder_checks(folder: Path, key: str | None) -> Iterator[Check]:
    """Check a site that ``federation-hub export-static`` wrote: its signature, every file, every leaderboard."""
    yield from _site_checks(folder, key)
    for path in sorted((folder / "snapshots").glob("blake3-*.json")):
        if path.name.count(".") == 1:
            beside = path.with_name(f"{path.stem}.inputs.json")
            inputs = beside.read_bytes() if beside.is_file() else None
            yield from snapshot_checks(path.read_bytes(), path.stem.replace("-", ":", 1), inputs)


def _site_checks(folder: Path, key: str | None) -> Iterator[Check]:
    question, subject = "The list of its files is signed", str(folder)
    try:
        envelope = Envelope.model_validate_json((folder / SITE_MANIFEST).read_bytes())
        told = SiteManifest.model_validate_json(envelope.payload_bytes())
        manifest = open_envelope(envelope, SiteManifest, key or told.public_key)
    except OSError as error:
        raise BadInput("file-missing", f"{folder} holds no {SITE_MANIFEST}: is it an exported site?") from error
    except (BadEnvelope, ValidationError) as error:
        reason = str(error) if isinstance(error, BadEnvelope) else "it is no manifest"
        yield Check(subject, question, "no", reason)
        return
    yield Check(subject, f"{question} by the key {key_fingerprint(manifest.public_key)}", "yes")
    if key is None:
        yield Check(subject, "That key is the hub's", "unknown", "ask its operator and give it with --key")
    wrong = [file.path for file in manifest.files if not _is(folder, file.path, file.digest)]
    yield _check(subject, f"Each of its {len(manifest.files)} files is as it was written", not wrong, _some(wrong))
    more = sorted(names_below(folder) - {file.path for file in manifest.files})
    yield _check(subject, "Nothing was put beside them", not more, _some(more))


def _is(folder: Path, name: str, digest: str) -> bool:
    path = folder / name
    return path.resolve().is_relative_to(folder.resolve()) and path.is_file() and digest_file(path) == digest


def _some(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def file_checks(path: Path, *, digest: str | None, inputs: Path | None, key: str | None) -> Iterator[Check]:
    """Check one file: a signed statement against a key, a snapshot against its inputs, anything against a digest."""
    data = path.read_bytes()
    envelope = _envelope(data)
    if envelope is not None:
        yield from _statement_checks(path, envelope, digest=digest, key=key)
        return
    if inputs is None and digest is None:
        raise BadInput("config-invalid", "say what it should be: --digest, and --inputs for a leaderboard")
    if inputs is not None:
        yield from snapshot_checks(data, digest or digest_bytes(data), inputs.read_bytes())
    elif digest is not None:
        yield _check(str(path), "The bytes are what the digest names", digest_bytes(data) == digest, digest_bytes(data))


def _statement_checks(path: Path, envelope: Envelope, *, digest: str | None, key: str | None) -> Iterator[Check]:
    subject = str(path)
    found = digest_bytes(envelope.payload_bytes())
    if digest is not None:
        yield _check(subject, "What was signed is what the digest names", found == digest, f"it is {found}")
    if key is None:
        yield Check(subject, "It is signed by whom it should be", "unknown", "give the signer's public key with --key")
    else:
        yield _check(
            subject, f"It is signed by the key {key_fingerprint(key)}", is_signed_by(envelope, key), "it is not"
        )


def _envelope(data: bytes) -> Envelope | None:
    try:
        envelope = Envelope.model_validate_json(data)
        envelope.payload_bytes()
    except (ValidationError, BadEnvelope):
        return None
    return envelope


def checked_key(text: str | None) -> str | None:
    """Return a public key as it was given; raises ``config-invalid`` where it is none."""
    if text is not None:
        try:
            public_key_from_text(text)
        except ValueError as error:
            raise BadInput("config-invalid", "--key takes an Ed25519 public key in base64") from error
    return text
