"""``medsilo verify``: what a hub published is checked here, one yes or no a line."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from federation_hub.client.cli.session import AsJson, Session, session
from federation_hub.client.hub import Hub
from federation_hub.client.terminal import EXIT_REFUSED, output, print_json
from silo_node.wire.errors import BadInput

if TYPE_CHECKING:
    from federation_hub.client.verification import Check

_DIGEST = re.compile(r"blake3:[0-9a-f]{64}")
_SNAPSHOT = re.compile(rf"(?P<prefix>.*?)(/api/v1)?/snapshots/(?P<digest>{_DIGEST.pattern})")


def verify(
    context: typer.Context,
    target: Annotated[
        str, typer.Argument(help="Digest or address of a leaderboard, a file, or the folder of an exported site.")
    ],
    digest: Annotated[str | None, typer.Option(help="What the file should be, e.g. the digest of a model.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="The inputs of a leaderboard's file.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Public key of the hub (for a folder) or of the signer (for a signed file).")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Take what cannot be checked for a no.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check what a hub published, on this machine: digests, signatures, and each board computed again.

    Exit status 1 where one answer is no. What cannot be checked, such as a board whose inputs a hospital keeps to
    itself, is told as unknown.

    Example: `medsilo verify https://hub.example.org/snapshots/blake3:1f...`
    """
    found = list(_checks(session(context), target, digest=digest, inputs=inputs, key=key))
    bad = [check for check in found if check.answer == "no" or (strict and check.answer == "unknown")]
    if as_json:
        print_json({"verified": not bad, "checks": [asdict(check) for check in found]})
    else:
        _tell(found)
    if bad:
        raise typer.Exit(EXIT_REFUSED)


def _tell(found: list["Check"]) -> None:
    """Print the answers under what they are about, and how many there are of each."""
    for subject, checks in groupby(found, key=lambda check: check.subject):
        output().print(subject, soft_wrap=True, markup=False)
        for check in checks:
            detail = f": {check.detail}" if check.detail else ""
            output().print(f"  {check.answer:<8} {check.question}{detail}", soft_wrap=True, markup=False)
    counts = Counter(check.answer for check in found)
    output().print(", ".join(f"{counts[answer]} {answer}" for answer in ("yes", "no", "unknown")))


def _checks(
    asked: Session, target: str, *, digest: str | None, inputs: Path | None, key: str | None
) -> "Iterator[Check]":
    # Loading scipy takes longer than any other command.
    from federation_hub.client import verification

    key, path = verification.checked_key(key), Path(target)
    if digest is not None and not _DIGEST.fullmatch(digest):
        raise BadInput("config-invalid", "a digest is blake3: and 64 digits or letters from a to f")
    if _DIGEST.fullmatch(target):
        return verification.hub_checks(asked.connect(signed_in=False), target)
    if urlsplit(target).scheme in ("http", "https"):
        address = _SNAPSHOT.fullmatch(unquote(target))
        if address is None:
            raise BadInput("config-invalid", "the address must be that of a snapshot, .../snapshots/blake3:...")
        # Nobody's token goes to an address that was only pasted.
        return verification.hub_checks(Hub(address["prefix"]), address["digest"])
    if path.is_dir():
        return verification.folder_checks(path, key)
    if not path.is_file() or (inputs is not None and not inputs.is_file()):
        raise BadInput("file-missing", target if not path.is_file() else str(inputs))
    return verification.file_checks(path, digest=digest, inputs=inputs, key=key)
