"""Writing the site: every public page is asked for as anybody would ask, and put where its links can find it."""

import re
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from federation_hub.app import create_app
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.db import now
from federation_hub.export.links import API, file_of, links, public, relinked, views_of
from federation_hub.export.manifest import SITE_MANIFEST, SiteFile, SiteManifest, names_below
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.leaderboards.upkeep import catch_up
from federation_hub.models.tables import Model
from federation_hub.services import Services
from federation_hub.studies.tables import Study
from silo_node.web.formats import minute
from silo_node.wire.digests import digest_file
from silo_node.wire.envelope import seal
from silo_node.wire.errors import BadInput

_UNLIMITED = 10**9
_MAIN = re.compile(r"<main\b[^>]*>")
_NOTICE = '<div class="notice" role="note"><p><strong>A copy</strong> of {}, written on {}.</p></div>'


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    pages: int
    files: int
    size: int


def export_site(services: Services, folder: Path) -> Exported:
    """Write the public site into ``folder``, which must not hold anything yet.

    It appears there only when it is whole. Raises ``already-exists`` where the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise BadInput("already-exists", f"{folder} is not empty")
    catch_up(services)
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        exported = _write(_fetch(_application(services), _starts(services)), made, services.config.name)
        _sign(services, made)
        made.chmod(0o755)
        made.replace(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    return exported


def _sign(services: Services, folder: Path) -> None:
    """Write down the digest of every file under the hub's signature."""
    files = tuple(SiteFile(path=name, digest=digest_file(folder / name)) for name in sorted(names_below(folder)))
    manifest = SiteManifest(hub=services.config.name, made=now(), public_key=services.public_key, files=files)
    (folder / SITE_MANIFEST).write_text(seal(manifest, services.key).model_dump_json() + "\n")


def _application(services: Services) -> Flask:
    """The hub's own application but for its limits, which are for strangers."""
    config = services.config.model_copy(update={"anonymous_requests_per_minute": _UNLIMITED})
    return create_app(config, services=Services(config, services.database, services.blobs, services.key))


def _starts(services: Services) -> list[str]:
    """Addresses no page may lead to: superseded snapshots, earlier versions, the inputs."""
    with services.database.reading() as session:
        digests = session.scalars(select(Snapshot.digest).order_by(Snapshot.created)).all()
        versions = session.execute(select(Benchmark.name, Benchmark.version)).all()
        models, studies = session.scalars(select(Model.digest)).all(), session.scalars(select(Study.id)).all()
    return [
        "/",
        "/methods",
        *(f"/benchmarks/{name}/{version}" for name, version in versions),
        *(f"/snapshots/{digest}" for digest in digests),
        *(f"{API}snapshots/{digest}{end}" for digest in digests for end in ("", ".csv", "/inputs")),
        *(f"/models/{digest}" for digest in models),
        *(f"/studies/{study}" for study in studies),
    ]


def _fetch(app: Flask, starts: Iterable[str]) -> dict[str, TestResponse]:
    """Return every public answer there is by its address; what is refused or gone is left out."""
    client, found = app.test_client(), dict[str, TestResponse]()
    waiting, seen, views = deque(starts), set(starts), Counter[str]()
    while waiting:
        address = waiting.popleft()
        answer = _get(client, address)
        if answer.status_code != 200:
            continue
        found[address] = answer
        if answer.mimetype != "text/html":
            continue
        for link in links(answer.text):
            page, most = views_of(link)
            if link not in seen and public(link) and views[page] < most:
                views[page] += 1
                seen.add(link)
                waiting.append(link)
    return found


def _get(client: FlaskClient, address: str) -> TestResponse:
    accepted = "application/json" if address.startswith(API) else "text/html"
    return client.get(address, headers={"Accept": accepted})


def _write(answers: dict[str, TestResponse], folder: Path, hub: str) -> Exported:
    files = {address: file_of(address, answer.mimetype or "") for address, answer in answers.items()}
    size, notice = 0, _NOTICE.format(escape(hub), minute(now()))
    for address, answer in answers.items():
        path = folder / files[address]
        path.parent.mkdir(parents=True, exist_ok=True)
        body = answer.data
        if answer.mimetype == "text/html":
            page = relinked(answer.text, files[address], files)
            body = _MAIN.sub(lambda match: match[0] + notice, page, count=1).encode()
        path.write_bytes(body)
        size += len(body)
    pages = sum(answer.mimetype == "text/html" for answer in answers.values())
    return Exported(pages, len(set(files.values())), size)
