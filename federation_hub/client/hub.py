"""``Hub``: everything a researcher's program asks of a hub, as plain Python."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from federation_hub.client.connection import Connection
from federation_hub.client.settings import load_settings, read_token
from federation_hub.client.study_pages import joined
from federation_hub.client.uploads import Progress, upload
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.digests import digest_file
from silo_node.wire.errors import BadInput, ConfigError
from silo_node.wire.models import ModelCard, ModelSubmission
from silo_node.wire.studies import StudyPlan
from silo_node.wire.transfers import BlobReference

if TYPE_CHECKING:
    import pandas

Record = dict[str, Any]
"""An object of the hub as its OpenAPI document declares it."""

ENDED = ("completed", "failed", "stopped")
"""States a study never leaves."""


class Hub:
    """A connection to one hub, with a person's token or, for what is public, without.

    Every method raises ``HubUnavailable`` where no hub answers and ``WireError`` with the hub's code where it refuses.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.connection = Connection(url, token)

    @classmethod
    def signed_in(cls) -> Hub:
        """Return the hub and the person that ``medsilo login`` remembered, or the environment names.

        Raises ``ConfigError`` where there is none.
        """
        settings = load_settings()
        if settings.hub is None:
            raise ConfigError("config-missing", "no hub is known; run medsilo login")
        return cls(settings.hub, read_token(settings.token_file) if settings.token_file else None)

    @property
    def url(self) -> str:
        """The hub's address, without a closing slash."""
        return self.connection.url

    def information(self) -> Record:
        """Return the hub's name, version, wire versions and public key."""
        return cast(Record, self.connection.get("/hub"))

    def me(self) -> Record:
        """Return who the token belongs to, with its roles."""
        return cast(Record, self.connection.get("/me"))

    def benchmarks(self) -> list[Record]:
        """Return a line for every benchmark, of its newest version."""
        return self._all("/benchmarks", "benchmarks")

    def benchmark(self, name: str, version: int | None = None) -> Record:
        """Return one version of a benchmark, by default the newest: ``definition``, ``digest`` and ``state``."""
        return cast(Record, self.connection.get(f"/benchmarks/{name}" + (f"/{version}" if version else "")))

    def definition(self, name: str, version: int | None = None) -> BenchmarkDefinition:
        """Return a benchmark's definition, checked against the declared message."""
        return BenchmarkDefinition.model_validate_json(json.dumps(self.benchmark(name, version)["definition"]))

    def publish_benchmark(self, definition: BenchmarkDefinition) -> Record:
        """Publish a benchmark version, for ever as it is; needs the role of a benchmark owner."""
        return cast(Record, self.connection.post("/benchmarks", definition))

    def tokens(self) -> list[Record]:
        """Return one's own tokens that work, without their secrets, the newest first."""
        return self._all("/tokens", "tokens")

    def make_token(self, name: str, *, scopes: Sequence[str], days: int) -> Record:
        """Make a token of one's own, no wider and no longer than the present one; ``token`` is told this once."""
        return cast(Record, self.connection.post("/tokens", {"name": name, "scopes": list(scopes), "days": days}))

    def revoke_token(self, token_id: str) -> None:
        """Let one of one's own tokens work no longer."""
        self.connection.post(f"/tokens/{token_id}/revoke")

    def submit_model(
        self,
        bundle: Path,
        card: ModelCard,
        benchmark: str,
        *,
        version: int | None = None,
        phase: str | None = None,
        private: bool = False,
        embargo_until: datetime | None = None,
        version_of: str | None = None,
        progress: Progress = lambda done, total: None,
    ) -> Record:
        """Upload a packed bundle, resuming where it broke off, submit it to a benchmark, and return its record.

        A ``private`` entry is told of to its own organisation only, one under an embargo likewise until that date.
        ``version_of`` is the digest of the model it is a new version of. ``progress`` is called with the bytes sent
        and the bytes there are.
        """
        chosen = version or int(self.benchmark(benchmark)["definition"]["version"])
        if not bundle.is_file():
            raise BadInput("file-missing", str(bundle))
        submission = _submission(
            bundle=BlobReference(digest=digest_file(bundle), size=bundle.stat().st_size),
            card=card,
            benchmark=benchmark,
            benchmark_version=chosen,
            phase=phase,
            visibility="private" if private else "public",
            embargo_until=embargo_until,
            version_of=version_of,
        )
        upload(self.connection, bundle, purpose="model", progress=progress)
        return cast(Record, self.connection.post("/models", submission))

    def submit(self, bundle: Path | str, benchmark: str, *, card: ModelCard | None = None, **wishes: Any) -> Record:
        """Pack a bundle folder, or take a packed one, and submit it with the card that lies beside it.

        ``wishes`` are those of :meth:`submit_model`.
        """
        from federation_hub.client.models import card_path, packed, read_card

        path = Path(bundle)
        words = card or read_card(card_path(path))
        with packed(path) as archive:
            return self.submit_model(archive, words, benchmark, **wishes)

    def entries(self, digest: str) -> list[Record]:
        """Return where a model of one's own stands on each benchmark, site by site, and what was released of it."""
        return self._all(f"/models/{digest}/entries", "entries")

    def follow(self, digest: str, *, every: float = 2.0) -> Iterator[list[Record]]:
        """Yield a model's entries again and again, ``every`` seconds, until nothing more comes by itself."""
        while True:
            entries = self.entries(digest)
            yield entries
            if all(entry["settled"] for entry in entries):
                return
            time.sleep(every)

    def show_entry(self, digest: str, benchmark: str, version: int, *, until: datetime | None = None) -> Record:
        """Make a private entry of one's own public, now or from a date on. It never becomes private again."""
        body = {"embargo_until": until.isoformat() if until else None}
        return cast(Record, self.connection.post(f"/benchmarks/{benchmark}/{version}/entries/{digest}/showing", body))

    def matrix(self, benchmark: str, version: int | None = None) -> Record:
        """Return where every model stands at every site; needs to be the benchmark's owner."""
        chosen = version or int(self.benchmark(benchmark)["definition"]["version"])
        return self._whole(f"/benchmarks/{benchmark}/{chosen}/matrix", "models")

    def matrix_frame(self, benchmark: str, version: int | None = None) -> pandas.DataFrame:
        """Return the matrix as a pandas table of states, models by sites. Needs pandas."""
        import pandas

        found = self.matrix(benchmark, version)
        rows = {row["name"]: [cell["state"] for cell in row["cells"]] for row in found["models"]}
        return pandas.DataFrame.from_dict(rows, orient="index", columns=[site["label"] for site in found["sites"]])

    def evaluate_again(
        self, benchmark: str, version: int | None = None, *, silo_id: str | None = None, reason: str | None = None
    ) -> list[Record]:
        """Ask one silo or all of them again; needs to be the benchmark's owner."""
        chosen = version or int(self.benchmark(benchmark)["definition"]["version"])
        body = {"silo_id": silo_id, "reason": reason}
        return _items(self.connection.post(f"/benchmarks/{benchmark}/{chosen}/evaluations", body), "evaluations")

    def set_entry(
        self, digest: str, benchmark: str, version: int, *, priority: int | None = None, baseline: bool | None = None
    ) -> Record:
        """Set an entry's priority, or whether it is a baseline; needs to be the benchmark's owner."""
        body = {"priority": priority, "baseline": baseline}
        return cast(Record, self.connection.post(f"/benchmarks/{benchmark}/{version}/entries/{digest}/settings", body))

    def dispute(self, evaluation_id: str, reason: str) -> Record:
        """Dispute a hospital's result: it leaves the board until the benchmark's owner has decided."""
        return cast(Record, self.connection.post(f"/evaluations/{evaluation_id}/dispute", {"reason": reason}))

    def settle(
        self, evaluation_id: str, *, uphold: bool, reason: str | None = None, because: str | None = None
    ) -> Record:
        """Uphold a disputed result or withdraw it; needs to be the benchmark's owner, and not the one who disputed.

        ``because`` says why in words, for those the result concerns; a result that is upheld needs it.
        """
        body = {"uphold": uphold, "reason": reason, "because": because}
        return cast(Record, self.connection.post(f"/evaluations/{evaluation_id}/settlement", body))

    def models(self, benchmark: str | None = None) -> list[Record]:
        """Return the models this person may see, of one benchmark or of all."""
        return self._all("/models", "models", benchmark=benchmark)

    def model(self, digest: str) -> Record:
        """Return one model: its card, its state, its lineage where a study made it."""
        return cast(Record, self.connection.get(f"/models/{digest}"))

    def withdraw_model(self, digest: str) -> Record:
        """Withdraw a model of one's own; its past results stay on record."""
        return cast(Record, self.connection.post(f"/models/{digest}/withdraw"))

    def evaluations(self, benchmark: str | None = None) -> list[Record]:
        """Return the evaluations of a benchmark, or all."""
        return self._all("/evaluations", "evaluations", benchmark=benchmark)

    def associations(self) -> list[Record]:
        """Return what was asked of this person, or by this person, and where it stands."""
        return self._all("/associations", "associations")

    def decide(self, association_id: str, *, approve: bool, reason: str | None = None) -> Record:
        """Say yes or no to what the other side asked."""
        body = {"approve": approve, "reason": reason}
        return cast(Record, self.connection.post(f"/associations/{association_id}/decision", body))

    def silos(self) -> list[Record]:
        """Return the silos of the federation."""
        return self._all("/silos", "silos")

    def silo(self, silo_id: str) -> Record:
        """Return one silo; its fingerprint is there for its own steward and the hub's admin."""
        return cast(Record, self.connection.get(f"/silos/{silo_id}"))

    def signing_key(self, silo_id: str) -> str:
        """Return the key a silo signs with now."""
        return str(self.connection.get(f"/silos/{silo_id}/keys")["keys"][-1]["public_key"])

    def invite_silo(self, name: str, organisation: str) -> Record:
        """Make a place for a hospital's node and return its one-time code; needs the role of a hub admin."""
        return cast(Record, self.connection.post("/silos", {"name": name, "organisation": organisation}))

    def approve_silo(self, silo_id: str, fingerprint: str) -> Record:
        """Let a pending silo in. The fingerprint is the one the hospital read out, never one the hub told.

        Raises ``fingerprint-mismatch`` where the key the hub holds has another one.
        """
        return cast(Record, self.connection.post(f"/silos/{silo_id}/approve", {"fingerprint": fingerprint}))

    def create_study(self, plan: StudyPlan) -> Record:
        """Create a study and ask its silos for their consent."""
        return cast(Record, self.connection.post("/studies", plan))

    def studies(self) -> list[Record]:
        """Return the studies this person may see."""
        return self._all("/studies", "studies")

    def study(self, study_id: str) -> Record:
        """Return a study with all of its rounds and updates."""
        found = cast(Record, self.connection.get(f"/studies/{study_id}"))
        while found.get("next") is not None:
            more = cast(Record, self.connection.get(f"/studies/{study_id}", cursor=found["next"]))
            found = joined(found, more)
        return found

    def study_privacy(self, study_id: str) -> Record:
        """Return a study's claim sheet: what its differential privacy is worth, and what it does not cover."""
        return cast(Record, self.connection.get(f"/studies/{study_id}/privacy"))

    def ask_statistics(self, benchmark: str, question: Record) -> Record:
        """Ask every silo with a cohort for a benchmark how its patients divide; return the question's view."""
        body = {"benchmark": benchmark, "question": question, "purpose": "research"}
        return cast(Record, self.connection.post("/statistics", body))

    def statistics(self, query_id: str) -> Record:
        """Return what the answers to a question come to so far."""
        return cast(Record, self.connection.get(f"/statistics/{query_id}"))

    def start_study(self, study_id: str) -> Record:
        """Start a study whose silos have agreed."""
        return cast(Record, self.connection.post(f"/studies/{study_id}/start"))

    def pause_study(self, study_id: str) -> Record:
        """Pause a running study after its present round."""
        return cast(Record, self.connection.post(f"/studies/{study_id}/pause"))

    def resume_study(self, study_id: str) -> Record:
        """Let a paused study go on."""
        return cast(Record, self.connection.post(f"/studies/{study_id}/resume"))

    def stop_study(self, study_id: str) -> Record:
        """Stop a study for good; its committed rounds stay on record."""
        return cast(Record, self.connection.post(f"/studies/{study_id}/stop"))

    def watch(self, study_id: str, *, every: float = 1.0) -> Iterator[Record]:
        """Yield a study again and again, ``every`` seconds, until it has ended."""
        while True:
            study = self.study(study_id)
            yield study
            if study["state"] in ENDED:
                return
            time.sleep(every)

    def leaderboard(self, name: str, *, version: int | None = None) -> Record:
        """Return the newest leaderboard snapshot of a benchmark."""
        return cast(Record, self.connection.get(f"/benchmarks/{name}/leaderboard", version=version))

    def snapshot(self, digest: str) -> bytes:
        """Return a leaderboard snapshot in the very bytes its digest names."""
        return self.connection.send("GET", f"/snapshots/{digest}").content

    def snapshot_inputs(self, digest: str) -> bytes:
        """Return what a snapshot was computed from.

        Raises ``inputs-withheld`` where a hospital on it keeps its own results to itself.
        """
        return self.connection.send("GET", f"/snapshots/{digest}/inputs").content

    def leaderboard_frame(self, name: str, *, version: int | None = None) -> pandas.DataFrame:
        """Return the leaderboard as a pandas table, one row a model, best first. Needs pandas."""
        import pandas

        from federation_hub.client.tables import leaderboard_rows

        return pandas.DataFrame(leaderboard_rows(self.leaderboard(name, version=version)))

    def _all(self, path: str, key: str, **query: str | None) -> list[Record]:
        """Return a whole list, page by page."""
        return _items(self._whole(path, key, **query), key)

    def _whole(self, path: str, key: str, **query: str | None) -> Record:
        """Return the answer of a list with all of its pages together."""
        answer = cast(Record, self.connection.get(path, **query))
        found, cursor = _items(answer, key), answer.get("next")
        while cursor is not None:
            more = cast(Record, self.connection.get(path, **query, cursor=cursor))
            found, cursor = found + _items(more, key), more.get("next")
        return {**answer, key: found, "next": None}


def _submission(**values: Any) -> ModelSubmission:
    try:
        return ModelSubmission(**values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the submission"
        raise BadInput("malformed-message", f"{place}: {first['msg']}") from error


def _items(answer: Any, key: str) -> list[Record]:
    return cast("list[Record]", answer[key])
