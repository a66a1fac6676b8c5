"""What a site keeps of its own in a decentralised study: the secret of its sealing key, its models, its gamma.

Its model after a round's training is kept until the round after next, since a round may be asked for again; the last
one stays, for it is what the site has gained.
"""

import json
import os
import shutil
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from pipelines.masking.keys import PrivatePair, PublicPair
from silo_node.state import Home, write_private
from silo_node.wire.neighbours import SealingKey

KEPT_ROUNDS = 2
_PURPOSE = b"neighbour"


@dataclass(frozen=True)
class OwnPart:
    """One study's folder."""

    folder: Path

    @classmethod
    def of(cls, home: Home, study_id: str) -> "OwnPart":
        """Return a study's part, made now where there is none."""
        folder = home.neighbours / study_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder)

    @property
    def keys(self) -> PrivatePair:
        """The private sealing keys, made the first time they are asked for."""
        path = self.folder / "sealing.key"
        if not path.exists():
            write_private(path, os.urandom(32))
        return PrivatePair(path.read_bytes(), _PURPOSE)

    @property
    def gamma(self) -> float | None:
        """The gamma this site saw in its first mixing, where the plan leaves it to the sites."""
        path = self.folder / "gamma.json"
        return float(json.loads(path.read_text())) if path.exists() else None

    def note_gamma(self, gamma: float) -> None:
        """Keep the first gamma; a later one changes nothing."""
        if self.gamma is None:
            write_private(self.folder / "gamma.json", json.dumps(gamma).encode())

    def before(self, number: int) -> Path | None:
        """Return the site's model after the latest round before this one, or None before its first."""
        earlier = [found for found in self._rounds() if found < number]
        return self._path(max(earlier)) if earlier else None

    def keep(self, number: int, model: Path) -> Path:
        """Take a model over as the one after this round, whole or not at all, and forget those of long ago."""
        kept = self._path(number)
        partial = kept.with_suffix(".partial")
        shutil.copyfile(model, partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(kept)
        for old in self._rounds():
            if old < number - KEPT_ROUNDS:
                self._path(old).unlink(missing_ok=True)
        return kept

    def _path(self, number: int) -> Path:
        return self.folder / f"round-{number:05}.safetensors"

    def _rounds(self) -> list[int]:
        return sorted(int(path.stem.removeprefix("round-")) for path in self.folder.glob("round-*.safetensors"))


def public_key(keys: PrivatePair, study_id: str, silo_id: str, plan_digest: str) -> SealingKey:
    """Return the statement of a silo's public sealing keys, to be signed."""
    public = keys.public
    return SealingKey(
        study_id=study_id,
        silo_id=silo_id,
        plan_digest=plan_digest,
        agreement=b64encode(public.agreement).decode(),
        encapsulation=b64encode(public.encapsulation).decode(),
    )


def public_pair(stated: SealingKey) -> PublicPair:
    """Return the keys a neighbour has stated."""
    return PublicPair(b64decode(stated.agreement), b64decode(stated.encapsulation))
