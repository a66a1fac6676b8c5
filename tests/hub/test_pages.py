"""Every page of the hub, as a reader without JavaScript, a crawler or somebody unkind asks for it."""

import re
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from federation_hub.accounts.tables import Organisation
from federation_hub.benchmarks.tables import Benchmark
from federation_hub.config import HubConfig
from federation_hub.evaluations.tables import Evaluation
from federation_hub.leaderboards.query import BoardQuery
from federation_hub.leaderboards.service import latest
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.leaderboards.view import board_view
from federation_hub.models.tables import Model
from federation_hub.silos.tables import Silo
from federation_hub.studies.tables import Study, StudyUpdate
from federation_hub.web.headers import CONTENT_SECURITY_POLICY
from tests.hub import showcase
from tests.hub.boards import board, entry
from tests.hub.federation import Federation, bundle_bytes, hub_at
from tests.hub.reading import Page, flat, read

BOARD = "/benchmarks/chest_phantom"
LINKED_DATA = "application/ld+json"
UNKIND = '<script>alert(1)</script>"onload="x{{7*7}}'


@pytest.fixture
def client(filled: Federation) -> FlaskClient:
    """A reader of the filled hub."""
    return filled.app.test_client()


DATA = (".csv", ".json", ".svg", ".atom")
BEHIND_THE_DOOR = "/account/"


def crawl(client: FlaskClient) -> Iterator[tuple[str, Page]]:
    """Yield every page that can be reached from the front page by following links, each once without its query."""
    waiting, seen = ["/"], {"/"}
    while waiting:
        path = waiting.pop()
        page = read(client, path)
        yield path, page
        for link in page.attributes("href"):
            plain = link.partition("#")[0].partition("?")[0]
            other = plain.startswith(("/api/", "/assets/", BEHIND_THE_DOOR)) or plain.endswith(DATA)
            if plain.startswith("/") and not other and plain not in seen:
                seen.add(plain)
                waiting.append(plain)


@pytest.fixture(scope="module")
def public(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, Page]]:
    """Every page of the filled hub, read once."""
    home = tmp_path_factory.mktemp("public") / "hub"
    shutil.copytree(showcase_home, home)
    return [found for federation in hub_at(home) for found in crawl(federation.app.test_client())]


def study_address(federation: Federation) -> str:
    """Return the address of the study."""
    with federation.services.database.reading() as session:
        return f"/studies/{session.scalar(select(Study.id))}"


def evaluation_address(federation: Federation) -> str:
    """Return the address of an evaluation that was answered."""
    with federation.services.database.reading() as session:
        found = session.scalar(select(Evaluation.id).where(Evaluation.state == "answered"))
        return f"/evaluations/{found}"


def test_every_page_a_reader_can_reach_is_there_and_sound(public: list[tuple[str, Page]]) -> None:
    """No link is broken; every page is well-formed, has one title and one first heading, and unique ids."""
    paths = []
    for path, page in public:
        paths.append(path)
        tags = [tag for tag, _ in page.tags]
        assert tags.count("h1") == 1, path
        assert tags.count("main") == 1, path
        levels = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3", "h4")]
        assert all(after - before <= 1 for before, after in pairwise(levels)), path
        ids = page.attributes("id")
        assert len(ids) == len(set(ids)), path
        assert set(page.attributes("aria-labelledby")) <= set(ids), path
    kinds = {path.split("/")[1] for path in paths}
    assert kinds == {
        "",
        "benchmarks",
        "models",
        "studies",
        "snapshots",
        "evaluations",
        "methods",
        "sign-in",
        "verify",
        "status",
    }


def test_every_page_works_under_a_policy_without_inline_scripts_and_styles(
    public: list[tuple[str, Page]], client: FlaskClient
) -> None:
    """One script, vendored and with its digest; no style attribute, nothing from another host."""
    for path, page in public:
        tags = {tag for tag, _ in page.tags}
        assert not tags & {"style", "iframe", "object", "embed"}, path
        scripts = [found for tag, found in page.tags if tag == "script" and found.get("type") is None]
        (htmx,) = scripts
        assert (htmx["src"] or "").endswith("/htmx.min.js"), path
        assert (htmx["integrity"] or "").startswith("sha384-"), path
        assert page.attributes("style") == [], path
        assert not any(name.startswith("on") for _, found in page.tags for name in found), path
        addresses = page.attributes("href") + page.attributes("src") + page.attributes("action")
        assert not any(address.startswith(("http", "//", "data:", "javascript:")) for address in addresses), path
    answer = client.get("/")
    assert answer.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_every_table_has_a_caption_and_scoped_heads(public: list[tuple[str, Page]]) -> None:
    """A screen reader can say which row and column a number belongs to."""
    for path, page in public:
        tags = [tag for tag, _ in page.tags]
        assert tags.count("caption") == tags.count("table"), path
        assert all("scope" in found for tag, found in page.tags if tag == "th"), path


def test_every_page_about_synthetic_data_says_so(public: list[tuple[str, Page]], client: FlaskClient) -> None:
    """Nobody may take a phantom for a patient."""
    for path, page in public:
        if path.split("/")[1] in ("benchmarks", "models", "studies", "snapshots") and path.count("/") > 1:
            assert "Synthetic data." in page.text, path
    assert "synthetic data" in read(client, "/").text


def test_pages_of_simulated_hospitals_say_so(federation: Federation) -> None:
    """Real cases under made-up hospitals are neither synthetic nor clinical evidence."""
    federation.publish(preparation=[], provenance="simulated-sites")
    assert "Simulated hospitals." in read(federation.app.test_client(), BOARD).text


def test_a_development_hub_warns_on_every_page(filled: Federation) -> None:
    """A hub without its protections must not be taken for one with them."""
    from federation_hub.app import build_services, create_app

    config = HubConfig(home=filled.services.config.home, development=True)
    services = build_services(config)
    for path, page in crawl(create_app(config, services=services).test_client()):
        assert "Development hub." in page.text, path
    services.database.close()
    assert "Development hub." not in read(filled.app.test_client(), "/").text


def test_the_board_answers_its_three_questions_in_words(client: FlaskClient) -> None:
    """Which model is best, how sure that is, and where it fails, before the first table."""
    text = flat(read(client, BOARD))
    first = text[: text.index("Leaderboard")]
    for phrase in ("Best model", "How sure", "Where", "AUROC", "chance that", "At a hospital not seen yet", "Site C"):
        assert phrase in first


def test_a_row_tells_rank_range_score_interval_chance_worst_site_and_size(client: FlaskClient) -> None:
    """Everything the drawing shows is also written."""
    page = read(client, BOARD)
    text = flat(page)
    for row in read_rows(client):
        assert re.search(
            rf"{re.escape(row['name'])} .*?{float(row['estimate']):.3f} {float(row['low']):.3f} to "
            rf"{float(row['high']):.3f} .*? Site [A-D] .*?4 hospitals\s?{880} cases",
            text,
        ), row["name"]
    assert "federated study" in text
    assert "baseline" in text
    assert "silo-attested" in text


def read_rows(client: FlaskClient) -> list[dict[str, str]]:
    """Return the CSV of the board."""
    import csv

    return list(csv.DictReader(client.get("/api/v1/benchmarks/chest_phantom/leaderboard.csv").text.splitlines()))


def test_tie_groups_are_said_in_words_and_bracketed(client: FlaskClient) -> None:
    """Colour alone tells nothing."""
    page = read(client, BOARD)
    assert "Tied for first: the data cannot say which of these" in flat(page)
    assert ("tbody", {"class": "tie"}) in page.tags


def test_a_sorted_column_is_marked_and_turns_on_the_next_click(client: FlaskClient) -> None:
    """``aria-sort`` and the link agree; the order of the rows is what they say."""
    page = read(client, f"{BOARD}?sort=cases&order=asc")
    assert page.attributes("aria-sort") == ["ascending"]
    names = [row["name"] for row in read_rows(client)]
    shown = read(client, f"{BOARD}?sort=model")
    places = [flat(shown).index(f"{name} ", flat(shown).index("Worst hospital")) for name in sorted(names)]
    assert places == sorted(places)


def test_rows_can_be_filtered_and_an_empty_answer_leads_back(client: FlaskClient) -> None:
    """A reader who finds nothing is told so."""
    assert "1 model, 4 hospitals" in flat(read(client, f"{BOARD}?kind=baseline"))
    empty = read(client, f"{BOARD}?q=nobody")
    assert "No model matches." in empty.text
    assert BOARD in empty.attributes("href")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["sort", "order", "kind", "q", "page", "version", "<b>"]),
        st.one_of(st.text(max_size=200), st.sampled_from(["-1", "0", "99999999999999999999", UNKIND, "\0", "%s%s"])),
        max_size=4,
    )
)
def test_nonsense_in_the_query_string_is_answered_with_a_page(client: FlaskClient, query: dict[str, str]) -> None:
    """Whatever is asked, the answer is a sound page that repeats nothing as markup."""
    answer = client.get(BOARD, query_string=query)
    assert answer.status_code == 200
    assert UNKIND not in answer.text
    Page(answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/benchmarks/nothing",
        "/benchmarks/chest_phantom/7",
        "/benchmarks/chest_phantom/x",
        "/models/blake3:00",
        "/studies/study-none",
        "/evaluations/eval-none",
        "/snapshots/blake3:00",
        "/benchmarks/%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "/benchmarks/" + "x" * 3000,
        "/assets/x/../../db.py",
        "/assets/x/nothing.css",
    ],
)
def test_what_is_not_there_is_a_page_that_says_what_to_do(client: FlaskClient, path: str) -> None:
    """A coded page for people that repeats nothing of the address, JSON for programs."""
    page = read(client, path, 404)
    assert "alert" not in page.text
    assert "Go to the benchmarks" in page.text
    assert client.get(path, headers={"Accept": "application/json"}).mimetype == "application/problem+json"


def test_text_from_outside_is_text_on_every_page(filled: Federation) -> None:
    """Markup in a benchmark, a card, an organisation, a study or a hospital is shown, never run."""
    with filled.services.database.session() as session:
        for model in session.scalars(select(Model)):
            texts = ("name", "description", "intended_use", "training_data", "licence")
            model.card = model.card | dict.fromkeys(texts, UNKIND)
        for organisation in session.scalars(select(Organisation)):
            organisation.name = f"{organisation.name} {UNKIND}"
        for row in session.scalars(select(Benchmark)):
            texts = ("title", "summary", "data_source", "licence")
            row.definition = row.definition | dict.fromkeys(texts, UNKIND)
        for study in session.scalars(select(Study)):
            study.plan = study.plan | {"title": UNKIND}
        for silo in session.scalars(select(Silo)):
            silo.name, silo.publication = f"{silo.name} {UNKIND}", "named"
    filled.refresh()
    shown = 0
    for path, page in crawl(filled.app.test_client()):
        scripts = [found for tag, found in page.tags if tag == "script"]
        assert all("htmx" in (found.get("src") or "") or found.get("type") == LINKED_DATA for found in scripts), path
        assert not any(name.startswith("on") for _, found in page.tags for name in found), path
        assert "49" not in re.findall(r"onload=\"x(\d+)", page.text), path
        shown += UNKIND in page.text
    assert shown >= 20


def test_too_few_hospitals_are_told_instead_of_numbers(federation: Federation) -> None:
    """With two of three sites the page says what it waits for, and shows no score."""
    showcase.fill(federation, hospitals=2)
    text = flat(read(federation.app.test_client(), BOARD))
    assert "Nothing is ranked yet: 2 hospitals of at least 3 reported." in text
    assert "DenseNet-121, federated" in text
    assert not re.search(r"\b0\.\d{3}\b", text[: text.index("About this board")])


def test_a_benchmark_without_results_has_a_page(federation: Federation) -> None:
    """From the first moment."""
    federation.publish(preparation=[])
    client = federation.app.test_client()
    assert "Nothing is ranked yet: 0 hospitals" in flat(read(client, BOARD))
    assert "Nothing is ranked yet" in read(client, "/").text


def test_an_empty_hub_has_pages(federation: Federation) -> None:
    """A fresh hub is not an error."""
    client = federation.app.test_client()
    assert "No benchmark is published yet." in read(client, "/").text
    assert "No study has been started yet." in read(client, "/studies").text


def test_a_superseded_snapshot_says_so_and_leads_to_the_present(filled: Federation, client: FlaskClient) -> None:
    """It keeps its address and its numbers."""
    with filled.services.database.reading() as session:
        old = session.scalars(select(Snapshot).order_by(Snapshot.created)).all()[-2]
        standing = latest(session, "chest_phantom")
    assert standing is not None
    page = read(client, f"/snapshots/{old.digest}")
    assert "This board is superseded." in page.text
    assert BOARD in page.attributes("href")
    assert "This board is superseded." not in read(client, f"/snapshots/{standing.digest}").text
    assert client.get(f"/api/v1/snapshots/{old.digest}").data == old.body


def test_the_study_page_shows_rounds_refusals_in_words_and_lineage(filled: Federation, client: FlaskClient) -> None:
    """Who was counted in which round, why an update was not, and what model came of it."""
    page = read(client, study_address(filled))
    text = flat(page)
    assert "the update holds a NaN or an infinity" in text
    assert "update-not-finite" in text
    assert "Any single site: the mean follows whatever it sends" in text
    assert "came too late, not counted" in text
    assert re.search(r"3 committed Site A, Site C and Site D Site B", text)
    assert "6 of 6" in text
    assert [
        step for step in ("DenseNet-121", "DenseNet-121, federated") if step in text[: text.index("Round by round")]
    ]
    lines = [found for tag, found in page.tags if tag == "line" and (found.get("class") or "").startswith("line")]
    # What a refused report says of the model is not believed: one point of one line is missing.
    assert len(lines) == 4 * showcase.ROUNDS - 1


def test_a_studys_scores_need_enough_hospitals(filled: Federation) -> None:
    """The curve of a study over too few sites would show one hospital."""
    with filled.services.database.session() as session:
        for report in session.scalars(select(StudyUpdate)):
            if report.silo_id in sorted(session.scalars(select(Silo.id)))[:2]:
                report.report = None
    page = read(filled.app.test_client(), study_address(filled))
    assert "curve" not in [found.get("class") for tag, found in page.tags if tag == "svg"]
    assert not re.search(r"\b0\.\d{3}\b", page.text[: page.text.index("Plan")])


def test_the_model_page_shows_every_hospital_and_where_the_model_comes_from(
    filled: Federation, client: FlaskClient
) -> None:
    """The card, the forest plot, and the study that made it."""
    federated = next(row for row in read_rows(client) if row["kind"] == "federated")
    text = flat(read(client, f"/models/{federated['model']}"))
    for phrase in ("Site A", "Site D", "All hospitals", "weakest", "Opacity, learned together", "Intended use"):
        assert phrase in text


def test_a_model_that_is_not_accepted_has_no_page(filled: Federation, client: FlaskClient) -> None:
    """Rejected and waiting submissions are their owner's business."""
    digest = read_rows(client)[0]["model"]
    with filled.services.database.session() as session:
        session.get_one(Model, digest).state = "rejected"
    assert "no such model" in read(client, f"/models/{digest}", 404).text


def test_a_model_that_waits_for_its_evaluation_has_a_page(filled: Federation, client: FlaskClient) -> None:
    """It says that nobody has reported yet."""
    owner = filled.researcher("Newcomer")
    digest = owner.submit(bundle_bytes(99), name="Newcomer's model").get_json()["digest"]
    assert "No hospital has reported on this model yet." in read(client, f"/models/{digest}").text


def test_the_evaluation_page_shows_the_receipt_and_no_score(filled: Federation, client: FlaskClient) -> None:
    """What was signed, with what it was computed; scores have their own gate."""
    text = flat(read(client, evaluation_address(filled)))
    assert "MONAI 1.6.1" in text
    assert "100 to 249 cases" in text
    assert re.search(r"blake3:[0-9a-f]{64}", text)
    assert not re.search(r"\b0\.\d{3}\b", text)


def test_a_withheld_hospital_has_no_evaluation_page(filled: Federation, client: FlaskClient) -> None:
    """As if there were none."""
    path = evaluation_address(filled)
    with filled.services.database.session() as session:
        evaluation = session.get_one(Evaluation, path.rpartition("/")[2])
        session.get_one(Silo, evaluation.silo_id).publication = "withheld"
    read(client, path, 404)


def test_the_methods_page_is_in_the_words_of_the_code(client: FlaskClient) -> None:
    """Formulas have their sources; what the code says of itself is what readers see."""
    text = flat(read(client, "/methods"))
    for phrase in ("Paule", "Knapp", "DeLong", "Holm", "benchmarks.statistics.ranking.rank_distribution"):
        assert phrase in text


def test_static_files_are_named_by_their_content_and_kept_for_ever(client: FlaskClient) -> None:
    """A changed stylesheet has another address; an old address still gets the file."""
    sheet = next(address for address in read(client, "/").attributes("href") if address.endswith(".css"))
    answer = client.get(sheet)
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("text/css", "public, max-age=31536000, immutable")
    assert client.get("/assets/000000000000/style.css").headers["Cache-Control"] == "no-cache"
    assert client.get("/favicon.ico").headers["Location"].endswith("/favicon.svg")
    assert "#" not in re.sub(r"--[\w-]+: light-dark\(#\w+, #\w+\)", "", re.sub(r"/\*.*?\*/", "", answer.text))


def test_a_large_board_is_paged_and_light() -> None:
    """A thousand models at ten hospitals are drawn a page at a time, under 150 kB of rows."""
    large = board(*(entry(f"Model {index}", group=index // 3 + 1) for index in range(1000)))
    view = board_view(large, BoardQuery(page=3), BOARD)
    assert (len(view.rows), view.pages, view.found) == (20, 50, 1000)
    assert view.rows[0].entry.name == "Model 40"
    assert sum(len(row.plot + row.ranks + row.chance) for row in view.rows) < 100_000
    assert board_view(large, BoardQuery(page=10**6), BOARD).query.page == 50
