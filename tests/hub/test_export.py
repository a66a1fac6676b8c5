"""The whole public site as files: every link leads to a file, and nothing private is among them."""

import base64
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.cli import app as hub_command
from federation_hub.client.cli import app as medsilo
from federation_hub.export.links import file_of, public, relinked
from federation_hub.export.manifest import SITE_MANIFEST
from federation_hub.export.site import export_site
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.silos.tables import Silo
from silo_node.wire.base import Message
from silo_node.wire.canonical import canonical_bytes, message_digest
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import new_key, public_key_text, seal
from silo_node.wire.errors import BadInput, IntegrityError, MedSiloError
from tests.hub.federation import Federation, hub_at
from tests.hub.running import running_hub
from tests.hub.test_leaderboard_service import publish_as

LINK = re.compile(r'\b(?:href|src)="([^"]*)"')


@pytest.fixture(scope="module")
def hub(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A hub whose hospitals all let their own results be shown; the tests only read it."""
    home = tmp_path_factory.mktemp("exported") / "hub"
    shutil.copytree(showcase_home, home)
    for federation in hub_at(home):
        publish_as(federation, *["pseudonym"] * 4)
        yield federation


@pytest.fixture(scope="module")
def site(hub: Federation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as the command writes it."""
    folder = tmp_path_factory.mktemp("copies") / "site"
    command = ["--home", str(hub.services.config.home), "export-static", str(folder)]
    result = CliRunner().invoke(hub_command, command)
    assert result.exit_code == 0, result.output
    return folder


def test_every_link_of_every_page_leads_to_a_file(site: Path) -> None:
    """Relative ones only, so that the folder works from a disk, a USB stick or any web server."""
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        for link in LINK.findall(page.read_text()):
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme in ("http", "https", "mailto")
            elif parts.path:
                assert not parts.path.startswith("/"), f"{page}: {link}"
                assert (page.parent / unquote(parts.path)).is_file(), f"{page}: {link}"


def test_every_snapshot_is_there_and_the_superseded_ones_say_so(site: Path, hub: Federation) -> None:
    """As a page, as the very bytes its digest names, as CSV, and with its inputs."""
    with hub.services.database.reading() as session:
        rows = session.scalars(select(Snapshot)).all()
    for row in rows:
        name = row.digest.replace(":", "-")
        assert digest_bytes((site / "snapshots" / f"{name}.json").read_bytes()) == row.digest
        assert (site / "snapshots" / f"{name}.csv").read_text().startswith("rank_low")
        superseded = "This board is superseded" in (site / "snapshots" / f"{name}.html").read_text()
        assert superseded == (row.superseded_by is not None)


def test_a_leaderboard_is_recomputed_from_the_files_alone(site: Path, hub: Federation) -> None:
    """No hub is asked; a file that was changed is found out."""
    with hub.services.database.reading() as session:
        digest = session.scalars(select(Snapshot.digest).where(Snapshot.superseded_by.is_(None))).one()
    arguments = ["leaderboard", "recompute", digest, "--folder", str(site)]
    result = CliRunner().invoke(medsilo, arguments)
    assert result.exit_code == 0, result.output
    assert "The very same bytes" in result.output
    file = site / "snapshots" / f"{digest.replace(':', '-')}.json"
    body = file.read_bytes()
    file.write_bytes(body.replace(b"0.9", b"0.8", 1))
    assert isinstance(CliRunner().invoke(medsilo, arguments).exception, IntegrityError)
    file.write_bytes(body)


def verified(*arguments: str) -> dict[str, Any]:
    """Run ``medsilo verify`` and return the worst answer to each question, with its exit status."""
    result = CliRunner().invoke(medsilo, ["verify", *arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    told = json.loads(result.stdout)
    assert told["verified"] == (result.exit_code == 0)
    worst: dict[str, Any] = {"status": result.exit_code}
    for check in sorted(told["checks"], key=lambda check: ["yes", "unknown", "no"].index(check["answer"])):
        worst[check["question"]] = check["answer"]
    return worst


SIGNED, WHOLE, NOTHING_MORE = "The list of its files is signed", "is as it was written", "Nothing was put beside them"
SAME = "The inputs give these very bytes"


def test_an_exported_site_is_verified_as_a_whole_without_a_hub(site: Path, hub: Federation, tmp_path: Path) -> None:
    """Its list of files, each file, and every leaderboard computed again; a stranger's key did not sign it."""
    key = hub.services.public_key
    found = verified(str(site), "--key", key)
    assert found.pop("status") == 0
    # A board of before enough hospitals had reported has no public inputs.
    assert found.pop(SAME) == "unknown"
    assert set(found.values()) == {"yes"}
    assert verified(str(site))["That key is the hub's"] == "unknown"
    assert verified(str(site), "--strict")["status"] == 1
    other = public_key_text(new_key().public_key())
    assert verified(str(site), "--key", other)[SIGNED] == "no"
    assert MedSiloError("config-invalid").code in refusal(str(site), "--key", "nonsense")
    assert MedSiloError("file-missing").code in refusal(str(tmp_path))


@pytest.mark.parametrize("change", ["a page", "a new page", "a missing page", "the list"])
def test_a_copy_that_somebody_changed_is_found_out(site: Path, tmp_path: Path, change: str) -> None:
    """One letter is enough."""
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    page, manifest = copy / "index.html", copy / SITE_MANIFEST
    if change == "a page":
        page.write_text(page.read_text().replace("e", "3", 1))
    elif change == "a new page":
        (copy / "extra.html").write_text("<p>Ours is best.</p>")
    elif change == "a missing page":
        page.unlink()
    else:
        envelope = json.loads(manifest.read_text())
        told = json.loads(base64.b64decode(envelope["payload"])) | {"files": []}
        manifest.write_text(json.dumps(envelope | {"payload": base64.b64encode(canonical_bytes(told)).decode()}))
    found = verified(str(copy))
    assert found["status"] == 1
    wrong = [question for question, answer in found.items() if answer == "no"]
    expected = {"a new page": NOTHING_MORE, "the list": SIGNED}.get(change, WHOLE)
    assert [expected in question for question in wrong] == [True]


def test_a_leaderboard_is_verified_by_its_digest_its_address_and_its_file(
    site: Path, hub: Federation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bytes, the definition, the signed results it names, and the whole computed again: an answer each."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with hub.services.database.reading() as session:
        digest = session.scalars(select(Snapshot.digest).where(Snapshot.superseded_by.is_(None))).one()
        question = session.scalars(select(Benchmark.digest)).first()
    with running_hub(hub.services.config, engine=False) as running:
        by_address = verified(f"{running.url}/snapshots/{digest}", "--strict")
        monkeypatch.setenv("MEDSILO_HUB", running.url)
        by_digest = verified(digest, "--strict")
        assert list(verified(str(question)).values()) == [0, "yes"]
        assert MedSiloError("not-found").code in refusal("blake3:" + "0" * 64)
    file = site / "snapshots" / f"{digest.replace(':', '-')}.json"
    inputs = file.with_suffix(".inputs.json")
    by_file = verified(str(file), "--inputs", str(inputs), "--digest", digest)
    assert by_address == by_digest == by_file
    assert len(by_file) == 6
    assert set(by_file.values()) == {0, "yes"}
    forged = tmp_path / "forged.json"
    forged.write_bytes(file.read_bytes().replace(b"0.9", b"0.8", 1))
    assert verified(str(forged), "--digest", digest)["status"] == 1
    # Whoever publishes forged bytes under their own digest is found by computing them again.
    assert verified(str(forged), "--inputs", str(inputs))[SAME] == "no"
    assert MedSiloError("config-invalid").code in refusal(str(forged))
    assert MedSiloError("config-invalid").code in refusal("https://hub.example.org/benchmarks/one")


def test_a_signed_statement_is_verified_against_a_key(tmp_path: Path) -> None:
    """A receipt, whatever it states; without a key only its digest."""
    key = new_key()
    message = CohortCounts(silo=1)
    path = tmp_path / "receipt.json"
    path.write_text(seal(message, key).model_dump_json())
    mine, other = public_key_text(key.public_key()), public_key_text(new_key().public_key())
    digest = message_digest(message)
    assert verified(str(path), "--key", mine, "--digest", digest)["status"] == 0
    assert verified(str(path), "--key", other)["status"] == 1
    assert verified(str(path), "--key", mine, "--digest", "blake3:" + "0" * 64)["status"] == 1
    assert verified(str(path))["It is signed by whom it should be"] == "unknown"


class CohortCounts(Message):
    """Something that is stated."""

    silo: int


def refusal(*arguments: str) -> str:
    """Return how ``medsilo verify`` refuses."""
    return str(CliRunner().invoke(medsilo, ["verify", *arguments]).exception)


def test_nothing_that_is_not_public_is_written(site: Path, hub: Federation) -> None:
    """No hospital's name or id: none of them wished to be named."""
    with hub.services.database.reading() as session:
        secrets = [text for silo in session.scalars(select(Silo)) for text in (silo.id, silo.name)]
    for path in site.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not [secret for secret in secrets if secret in text], path


def test_a_hospital_that_withholds_its_results_keeps_the_inputs_out(filled: Federation, tmp_path: Path) -> None:
    """The pages are there all the same."""
    publish_as(filled, "withheld")
    made = export_site(filled.services, tmp_path / "site")
    assert made.pages > 15
    assert not list((tmp_path / "site" / "snapshots").glob("*.inputs.json"))


def test_a_folder_that_holds_something_is_left_alone(filled: Federation, tmp_path: Path) -> None:
    """Nor is anything half-written left beside it."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mine.txt").write_text("mine")
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(BadInput, match="not empty"):
        export_site(filled.services, tmp_path / "site")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("address", "media_type", "file"),
    [
        ("/", "text/html", "index.html"),
        ("/snapshots/blake3:ab", "text/html", "snapshots/blake3-ab.html"),
        ("/benchmarks/chest?sort=score&page=2", "text/html", "benchmarks/chest.sort-score.page-2.html"),
        ("/api/v1/snapshots/blake3:ab.csv", "text/csv", "snapshots/blake3-ab.csv"),
        ("/api/v1/snapshots/blake3:ab/inputs", "application/json", "snapshots/blake3-ab.inputs.json"),
        ("/assets/12ab/style.css", "text/css", "assets/12ab/style.css"),
    ],
)
def test_an_address_has_a_file(address: str, media_type: str, file: str) -> None:
    """Without a colon, which no link to a file may begin with."""
    assert file_of(address, media_type) == file


def test_links_to_what_needs_a_hub_are_dropped() -> None:
    """Forms and programs as well; what is shown stays."""
    page = '<a href="/sign-in">Sign in</a> <form action="/x"><input></form><script src="/assets/a/htmx.js"></script>'
    assert relinked(page, "index.html", {}) == '<a data-not-exported="href">Sign in</a> '
    assert not public("/benchmarks/chest?q=name")
    assert not public("/administration")
    with pytest.raises(ValueError, match="out of the folder"):
        file_of("/models/../../etc/passwd", "text/plain")
