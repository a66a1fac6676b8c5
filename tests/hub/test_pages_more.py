"""Comparison, hospitals, the question, data beside every table, the feed, badges, and checking a digest."""

import csv
import hashlib
import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient
from rdflib import RDF, SDO, Graph, URIRef
from sqlalchemy import select

from federation_hub.evaluations.tables import EstimateBlockRow, Evaluation, Task
from federation_hub.leaderboards.service import latest
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study
from federation_hub.web.assets import ASSETS, OWN
from tests.hub.browsing import signed_in, visitor
from tests.hub.federation import Federation, bundle_bytes, hub_at
from tests.hub.reading import flat, read
from tests.hub.showcase import name_site

BOARD = "/benchmarks/chest_phantom"
UNKIND = '</script><script>alert(1)</script>"onload="x{{7*7}}'
ATOM = "{http://www.w3.org/2005/Atom}"


@pytest.fixture(scope="module")
def shared(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """The filled hub, for tests that only read."""
    home = tmp_path_factory.mktemp("shared") / "hub"
    shutil.copytree(showcase_home, home)
    yield from hub_at(home)


@pytest.fixture(scope="module")
def reader(shared: Federation) -> FlaskClient:
    """A reader of the filled hub."""
    return shared.app.test_client()


def board_rows(client: FlaskClient) -> list[dict[str, str]]:
    """Return the CSV of the board."""
    return list(csv.DictReader(client.get(f"/api/v1{BOARD}/leaderboard.csv").text.splitlines()))


def standing(federation: Federation) -> str:
    """Return the digest of the standing snapshot."""
    with federation.services.database.reading() as session:
        found = latest(session, "chest_phantom")
    assert found is not None
    return found.digest


def test_two_models_are_compared_as_the_board_compares_them(reader: FlaskClient) -> None:
    """The pooled difference and its interval are the snapshot's own; turned round, the sign turns."""
    snapshot = json.loads(reader.get(f"/api/v1{BOARD}/leaderboard").data)
    pair = snapshot["pairs"][1]
    for a, b, sign in ((pair["a"], pair["b"], 1), (pair["b"], pair["a"], -1)):
        rows = reader.get(f"{BOARD}/compare/hospitals.json?a={a}&b={b}").get_json()["rows"]
        pooled = rows[-1]
        assert pooled["pooled"]
        assert pooled["estimate"] == pytest.approx(sign * pair["difference"], abs=1e-6)
        assert sorted((pooled["low"], pooled["high"])) == pytest.approx(
            sorted((sign * pair["low"], sign * pair["high"])), abs=1e-6
        )
    text = flat(read(reader, f"{BOARD}/compare?a={pair['a']}&b={pair['b']}"))
    assert "is better" in text
    assert "adjusted for all pairs of the board" in text


def test_a_difference_at_a_hospital_uses_how_the_scores_go_together(shared: Federation, reader: FlaskClient) -> None:
    """Its interval is narrower than the two models' own would make it, because both erred on the same cases."""
    first, second = board_rows(reader)[:2]
    rows = reader.get(f"{BOARD}/compare/hospitals.json?a={first['model']}&b={second['model']}").get_json()["rows"]
    own = reader.get(f"/snapshots/{standing(shared)}/hospitals.json").get_json()["rows"]
    for row in rows[:-1]:
        a, b = (
            next(cell for cell in own if (cell["model"], cell["hospital"]) == (model["model"], row["hospital"]))
            for model in (first, second)
        )
        assert row["estimate"] == pytest.approx(a["estimate"] - b["estimate"], abs=1e-6)
        apart = ((a["high"] - a["low"]) ** 2 + (b["high"] - b["low"]) ** 2) ** 0.5
        assert row["high"] - row["low"] < 0.95 * apart


def test_a_comparison_nobody_asked_for_rightly_is_still_a_page(reader: FlaskClient) -> None:
    """Without models the first two are shown; nonsense is named and left out; one model twice is told."""
    first, second = board_rows(reader)[:2]
    assert f"{first['name']} or {second['name']}?" in flat(read(reader, f"{BOARD}/compare"))
    odd = read(reader, f"{BOARD}/compare?a=%3Cscript%3E&c=1")
    assert "left out: a, other parameters" in flat(odd)
    assert "<script>" not in odd.text
    assert "one model twice" in flat(read(reader, f"{BOARD}/compare?a={first['model']}&b={first['model']}"))
    assert reader.get(f"{BOARD}/compare/hospitals.csv?a=x").status_code == 404
    read(reader, "/benchmarks/nothing/compare", 404)


def test_columns_are_chosen_in_the_query_string(reader: FlaskClient) -> None:
    """Those asked for are shown in their own order, the others not; a form without any box is an answer, too."""
    board = reader.get(f"{BOARD}?columns=brier,best").text.partition("<thead>")[2].partition("</thead>")[0]
    heads = re.findall(r'<th scope="col" class="([\w-]+)"', board)
    assert heads == ["rank", "name", "score", "chance", "more"]
    assert "data-label" not in reader.get(f"{BOARD}?columns=").text
    page = read(reader, f"{BOARD}?columns=best&columns=top3&sort=top3")
    assert page.attributes("aria-sort") == ["descending"]
    assert "?sort=top3&order=asc&columns=best,top3" in " ".join(page.attributes("href"))


def test_what_a_board_does_not_understand_it_names(reader: FlaskClient) -> None:
    """Nonsense is ignored visibly, by the parameter's name and never by what it held."""
    page = read(reader, f"{BOARD}?sort=nonsense&columns=plot,hd95,zzz&page=-1&utm_source=abc")
    assert "left out: columns, other parameters, page, sort." in flat(page)
    assert not re.search("nonsense|zzz|utm|abc", page.text)
    assert "not understood" not in read(reader, f"{BOARD}?sort=score&q=&kind=all").text


def test_every_table_is_there_as_data(reader: FlaskClient) -> None:
    """Each page's CSV and JSON say the same, and each table on a page has both beside it."""
    study = next(href for href in read(reader, "/studies").attributes("href") if href.startswith("/studies/"))
    model = board_rows(reader)[0]["model"]
    evaluation = next(
        href for href in read(reader, f"{BOARD}/sites").attributes("href") if href.startswith("/evaluations/")
    )
    seen = 0
    for path in (BOARD, f"{BOARD}/1", f"{BOARD}/compare", f"{BOARD}/sites", study, f"/models/{model}", evaluation):
        page = read(reader, path)
        data = [href for href in page.attributes("href") if ".csv" in href and not href.startswith("/api/")]
        for href in data:
            rows = list(csv.reader(reader.get(href).text.splitlines()))
            table = reader.get(href.replace(".csv", ".json")).get_json()
            assert table["columns"] == rows[0], href
            assert len(table["rows"]) == len(rows) - 1, href
            seen += 1
        tables = [tag for tag, _ in page.tags].count("table")
        assert len(data) >= tables - 1, path
    assert seen >= 15
    assert reader.get(f"{BOARD}/sites/nothing.csv").status_code == 404
    assert reader.get(f"{BOARD}/sites/matrix.exe").status_code == 404


def test_a_snapshots_tables_never_change(shared: Federation, reader: FlaskClient) -> None:
    """They may be kept for ever, and a second look costs nothing."""
    answer = reader.get(f"/snapshots/{standing(shared)}/pairs.csv")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    again = reader.get(f"/snapshots/{standing(shared)}/pairs.csv", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_the_hospitals_page_tells_the_state_and_the_cause_of_every_cell(filled: Federation) -> None:
    """Scored, asked, declined with its code, suspended: a missing cell is never without a reason."""
    client = filled.app.test_client()
    owner = filled.researcher("Newcomer")
    digest = owner.submit(bundle_bytes(98), name="Newcomer's model").get_json()["digest"]
    with filled.services.database.session() as session:
        opened = session.scalars(
            select(Evaluation).where(Evaluation.state == "open").order_by(Evaluation.silo_id)
        ).all()
        opened[0].state, opened[0].code = "declined", "policy-budget"
        for task in session.scalars(select(Task).where(Task.evaluation_id == opened[1].id)):
            task.state, task.progress_done, task.progress_total = "running", 34, 60
        for task in session.scalars(select(Task).where(Task.evaluation_id == opened[2].id)):
            task.state, task.held = "running", True
        opened[3].state = "cancelled"
        session.get_one(Silo, opened[3].silo_id).state = "suspended"
    rows = [row for row in client.get(f"{BOARD}/sites/matrix.json").get_json()["rows"] if row["model"] == digest]
    states = sorted((row["state"], row["code"]) for row in rows)
    assert states == [
        ("declined", "policy-budget"),
        ("held", None),
        ("missing", "silo-not-active"),
        ("running", None),
    ]
    text = flat(read(client, f"{BOARD}/sites"))
    for phrase in ("57% done", "waits for release", "the silo is not active", "20 scored", "policy-budget"):
        assert phrase in text


def test_a_hospital_is_named_by_its_own_wish_only(filled: Federation) -> None:
    """By name, by a letter that stays its own, or not at all."""
    client = filled.app.test_client()
    with filled.services.database.reading() as session:
        silos = {silo.name: silo.id for silo in session.scalars(select(Silo))}
    name_site(filled, silos["Harbour"], "named")
    name_site(filled, silos["Lakeside Clinic"], "withheld")
    text = flat(read(client, f"{BOARD}/sites"))
    assert "Harbour takes part" in text
    assert "Site A pseudonym takes part" in text
    assert "1 lets nothing of its own be shown." in text
    assert not re.search("Site C|Eastgate|Lakeside|Southfield", text)
    assert "Lakeside" not in client.get(f"{BOARD}/sites/matrix.csv").text


def test_the_question_is_answered_from_the_definition(reader: FlaskClient) -> None:
    """Fingerprint, cohort flow, metrics and every board the version has had."""
    text = flat(read(reader, f"{BOARD}/1"))
    for phrase in (
        "at least 0.850 is asked at every single hospital",
        "Declared beforehand, the same for every model: 0.5",
        "4 hospitals count in the ranking 880 test cases",
        "stands now",
        "AUROC ↑ at least 0.850",
    ):
        assert phrase in text
    read(reader, f"{BOARD}/2", 404)


def test_the_feed_is_atom_that_a_strict_reader_takes(filled: Federation) -> None:
    """Well-formed whatever things are called; every entry has what RFC 4287 asks for, and ids are unique."""
    with filled.services.database.session() as session:
        for model in session.scalars(select(Model)):
            model.card = model.card | {"name": f"{UNKIND}\x0b]]>&"}
    client = filled.app.test_client()
    answer = client.get("/feed.atom")
    assert answer.mimetype == "application/atom+xml"
    feed = ElementTree.fromstring(answer.data)
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    ids = [entry.findtext(f"{ATOM}id") or "" for entry in entries]
    assert len(entries) >= 8
    assert len(set(ids)) == len(ids)
    for entry in [feed, *entries]:
        assert all((entry.findtext(f"{ATOM}{name}") or "").strip() for name in ("id", "title", "updated"))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry.findtext(f"{ATOM}updated") or "")
    for entry in entries:
        link = entry.find(f"{ATOM}link")
        assert link is not None
        assert client.get(link.get("href") or "").status_code == 200
    assert client.get("/feed.atom", headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304


def test_a_badge_never_shows_a_score_without_its_interval(reader: FlaskClient) -> None:
    """Nor a rank without its range; other sites may show it, and it needs no style of theirs."""
    row = board_rows(reader)[0]
    answer = reader.get(f"/badge/{row['model']}.svg")
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    picture = ElementTree.fromstring(answer.data)
    title = picture.findtext("{http://www.w3.org/2000/svg}title")
    low, high = float(row["low"]), float(row["high"])
    assert title == f"MedSilo: AUROC {float(row['estimate']):.3f} ({low:.3f} to {high:.3f}), rank 1–2 of 5"
    assert "style" not in answer.text
    assert reader.get(f"/badge/{row['model']}.svg?benchmark=nothing").status_code == 404
    assert reader.get("/badge/blake3:00.svg").status_code == 404


def understood(thing: dict[str, object]) -> str:
    """Read a thing as RDF, as a crawler does, and return its name; every class and property is one of schema.org's."""
    # schema.org's own context makes of a plain term what this one does; a test asks no other machine for it.
    text = json.dumps({**thing, "@context": {"@vocab": str(SDO)}})
    graph = Graph().parse(data=text, format="json-ld")
    terms = {predicate for _, predicate, _ in graph} | set(graph.objects(None, RDF.type))
    assert [term for term in terms - {RDF.type} if term not in SDO] == []
    assert graph.value(URIRef(str(thing["@id"])), RDF.type) == SDO[str(thing["@type"])]
    return str(graph.value(URIRef(str(thing["@id"])), SDO.name))


# rdflib's own parser makes a graph of a class it has deprecated itself.
@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
def test_linked_data_is_whole_json_whatever_things_are_called(filled: Federation) -> None:
    """A name cannot end the data block; another reader, too, finds schema.org's terms and nothing else."""
    client = filled.app.test_client()
    model = board_rows(client)[0]["model"]
    with filled.services.database.session() as session:
        found = session.get_one(Model, model)
        found.card = found.card | {"name": UNKIND}
        study = session.scalars(select(Study)).one().id
    kinds = {}
    for path in (BOARD, f"{BOARD}/1", f"/models/{model}", f"/studies/{study}"):
        blocks = re.findall(r'<script type="application/ld\+json">(.*?)</script>', client.get(path).text)
        (thing,) = (json.loads(block) for block in blocks)
        assert thing["@context"] == "https://schema.org"
        assert understood(thing) == thing["name"]
        assert thing["url"].startswith("http")
        kinds[path.split("/")[1]] = thing["@type"]
        if thing["@type"] == "CreativeWork":
            assert thing["name"] == UNKIND
        if thing["@type"] == "Dataset":
            assert 50 <= len(thing["description"]) <= 5000
            for download in thing["distribution"]:
                answer = client.get(download["contentUrl"])
                assert (answer.status_code, answer.mimetype) == (200, download["encodingFormat"])
    assert kinds == {"benchmarks": "Dataset", "models": "CreativeWork", "studies": "ResearchProject"}


def test_a_digest_leads_to_what_it_names(shared: Federation, reader: FlaskClient) -> None:
    """Snapshots, definitions, models, plans and signed results; nonsense is told apart from what is unknown."""
    with shared.services.database.reading() as session:
        block = session.scalars(select(EstimateBlockRow.digest)).first()
        plan = session.scalars(select(Study.plan_digest)).one()
    model = board_rows(reader)[0]["model"]
    for digest, words in (
        (standing(shared), "A leaderboard, the one that stands"),
        (model, "The bundle of the model “DenseNet-121, federated”"),
        (plan, "The plan of the study “Opacity, learned together”"),
        (block, "A result signed by Site"),
    ):
        assert words in flat(read(reader, f"/verify?digest={digest}"))
    assert "published nothing under that digest" in flat(read(reader, f"/verify?digest=blake3:{'0' * 64}"))
    odd = read(reader, "/verify?digest=%3Cscript%3Ealert")
    assert "not a digest" in flat(odd)
    assert "alert" not in odd.text


def test_vendored_files_are_what_their_authors_published() -> None:
    """Name, version, licence and digest stand beside each."""
    vendored = tomllib.loads((OWN / "vendor.toml").read_text())
    scripts = {path.name for path in OWN.glob("*.js")}
    assert scripts == {entry["file"] for entry in vendored.values()}
    for entry in vendored.values():
        content = (OWN / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["licence"]
        assert ASSETS.files[entry["file"]].content == content


def test_the_status_page_tells_what_is_under_way(filled: Federation) -> None:
    """Without telling of any hospital alone."""
    filled.researcher("Newcomer").submit(bundle_bytes(97), name="New")
    text = flat(read(filled.app.test_client(), "/status"))
    for phrase in ("Everything works.", "4 active", "4 under way", "Results 4 signed blocks", "0 running, 1 done"):
        assert phrase in text


def test_its_owner_asks_a_hospital_again_from_the_page(filled: Federation) -> None:
    """Nobody else sees the form or may send it; the further attempt and its reason are visible to everybody."""
    with filled.services.database.reading() as session:
        silo = session.scalars(select(Evaluation.silo_id)).first()
    path, form = f"{BOARD}/sites", {"silo_id": silo, "reason": "labels-corrected"}
    owner = signed_in(filled, "Olga", "hub-admin")
    assert "Ask again" in owner.get(path).text
    assert owner.get(path).headers["Cache-Control"] == "no-store"
    answer = owner.send(f"{path}/again", form)
    assert (answer.status_code, answer.headers["Location"]) == (303, path)
    with filled.services.database.reading() as session:
        made = session.scalars(select(Evaluation).where(Evaluation.state == "open")).one()
        assert (made.silo_id, made.attempt, made.reason) == (silo, 2, "labels-corrected")
        shown = f"/evaluations/{made.id}"
    assert "Attempt 2, asked again" in flat(read(filled.app.test_client(), shown))
    assert owner.send(f"{path}/again", form | {"reason": "because"}).status_code == 422
    assert owner.send(f"{path}/again", form, site="cross-site").status_code == 403
    stranger = signed_in(filled, "Rita", "researcher")
    assert "Ask again" not in stranger.get(path).text
    assert stranger.send(f"{path}/again", form).status_code == 403
    assert visitor(filled.app).send(f"{path}/again", form).status_code == 401
