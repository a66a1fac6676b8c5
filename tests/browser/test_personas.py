"""Each persona's way through the hub in a browser, from start to end, over one federation whose hospitals answer."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect
from werkzeug.serving import make_server

from silo_node.wire.benchmarks import BenchmarkDefinition
from tests.browser.reading import NARROW, RULES, WIDE, overflow, reading
from tests.hub.browsing import PASSWORD, invited, visitor
from tests.hub.federation import Federation, SiloCaller, bundle_bytes, definition, hub_at
from tests.hub.test_entries import LAW, phase, reporting

pytestmark = pytest.mark.browser
TITLE = "Opacity on a generated chest phantom"


@dataclass(frozen=True)
class Town:
    """A hub that listens, its benchmark, and two hospitals that wait for work."""

    url: str
    federation: Federation
    benchmark: BenchmarkDefinition
    hospitals: tuple[SiloCaller, ...]

    def person(self, name: str, *roles: str, organisation: str) -> None:
        """Add a person who has set a password."""
        code = invited(self.federation, name, *roles, organisation=organisation)
        answer = visitor(self.federation.app).send("/join", {"code": code, "password": PASSWORD, "again": PASSWORD})
        assert answer.status_code == 303, answer.text


@pytest.fixture
def town(migrated_home: Path, tmp_path: Path) -> Iterator[Town]:
    """The benchmark's owner decides on models; cohorts are approved by rule."""
    expect.set_options(timeout=60_000)
    home = tmp_path / "town"
    shutil.copytree(migrated_home, home)
    for federation in hub_at(home):
        owner = federation.person("Publisher", "benchmark-owner", organisation="Board")
        question = definition(**LAW, auto_approve_models=False, phases=[phase()])
        assert owner.post("/benchmarks", question).status_code == 201
        hospitals = tuple(federation.silo(name) for name in ("Eastgate", "Harbour"))
        for hospital in hospitals:
            hospital.register_cohort(question)
        server = make_server("127.0.0.1", 0, federation.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Town(f"http://127.0.0.1:{server.port}", federation, question, hospitals)
        server.shutdown()
        thread.join()
        server.server_close()


def sign_in(page: Page, town: Town, name: str) -> None:
    """Sign in at the door."""
    page.goto(town.url + "/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()


def sound(page: Page) -> None:
    """Find nothing wrong with a page's accessibility, nor anything wider than its window."""
    violations = Axe().run(page, options=RULES).response["violations"]
    assert [(found["id"], page.url) for found in violations] == []
    assert overflow(page) == 0, page.url


def submitted(page: Page, town: Town, tmp_path: Path) -> None:
    """Go through the four steps; every one of them is sound."""
    (tmp_path / "model.zip").write_bytes(bundle_bytes(1))
    page.get_by_role("link", name="Submit a model").first.click()
    sound(page)
    page.get_by_role("link", name=f"Submit to {TITLE}").click()
    sound(page)
    page.get_by_label("Bundle").set_input_files(tmp_path / "model.zip")
    page.get_by_role("button", name="Send the bundle").click()
    sound(page)
    page.get_by_label("Name").fill("Ada's network")
    page.get_by_label("What it was trained on").fill("Generated phantoms of another scanner.")
    page.get_by_label("only my organisation", exact=True).check()
    page.get_by_role("button", name="Submit the model").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Where Ada's network is")


def test_a_model_from_its_submission_to_the_reader(browser: Browser, town: Town, tmp_path: Path) -> None:
    """The researcher submits it privately, the owner lets it in, hospitals answer, its score is told, then to all."""
    town.person("Ada", "researcher", organisation="University")
    town.person("Bo", "benchmark-owner", organisation="Board")
    with reading(browser, viewport=WIDE) as ada, reading(browser, viewport=WIDE, color_scheme="dark") as bo:
        sign_in(ada, town, "Ada")
        submitted(ada, town, tmp_path)
        expect(ada.get_by_text("requested; attempt 1 of your organisation")).to_be_visible()
        sign_in(bo, town, "Bo")
        expect(bo.get_by_text("Ada's network")).to_be_visible()
        bo.get_by_role("button", name="Approve").click()
        expect(bo.get_by_text("Nothing waits for your decision.")).to_be_visible()
        ada.get_by_role("link", name="Look again").click()
        expect(ada.get_by_role("cell", name="waiting for the hospital")).to_have_count(2)
        sound(ada)
        for hospital in town.hospitals:
            reporting(hospital)
        # Nobody clicks: the page asks again by itself while something may come.
        expect(ada.get_by_role("cell", name="released")).to_have_count(2, timeout=60_000)
        expect(ada.get_by_text("over 2 hospitals and 100 cases")).to_be_visible()
        bo.get_by_role("link", name="Your benchmarks").click()
        bo.get_by_role("link", name=f"{TITLE}, version 1").click()
        expect(bo.get_by_role("row", name="Ada's network").get_by_role("link", name="released")).to_have_count(2)
        sound(bo)
        bo.get_by_role("button", name="Ask again").click()
        expect(bo.get_by_role("row", name="Ada's network").get_by_role("link", name="released")).to_have_count(2)
        with reading(browser, viewport=NARROW) as reader:
            reader.goto(town.url)
            expect(reader.get_by_text("Ada's network")).to_have_count(0)
            ada.get_by_role("button", name="Make it public").click()
            expect(ada.get_by_role("button", name="Make it public")).to_have_count(0)
            reader.goto(town.url + "/benchmarks/chest_phantom")
            expect(reader.get_by_text("Ada's network").first).to_be_visible()
            sound(reader)
        ada.get_by_role("link", name="Your models").click()
        expect(ada.get_by_role("link", name="Ada's network")).to_be_visible()
        sound(ada)


def test_a_hospitals_steward_sees_the_silo_and_disputes_a_result(browser: Browser, town: Town) -> None:
    """The dashboard shows the hospital's own silos only; a dispute stands on the result's page for every reader."""
    researcher = town.federation.person("Eve", "researcher", organisation="Lab")
    researcher.submit(bundle_bytes(2), "Doubtful")
    (place,) = (
        row for row in town.federation.admin.get("/associations").get_json()["associations"]
        if row["state"] == "requested"
    )  # fmt: skip
    town.federation.admin.post(f"/associations/{place['association_id']}/decision", {"approve": True})
    reporting(town.hospitals[0])
    town.person("Stew", "data-steward", organisation="Eastgate Hospital")
    rows: list[dict[str, Any]] = researcher.get("/evaluations").get_json()["evaluations"]
    answered = next(row["evaluation_id"] for row in rows if row["state"] == "answered")
    with reading(browser, viewport=NARROW, color_scheme="dark") as page:
        sign_in(page, town, "Stew")
        page.goto(town.url + "/dashboard")
        expect(page.get_by_text("Eastgate", exact=True)).to_be_visible()
        expect(page.get_by_text("Harbour", exact=True)).to_have_count(0)
        sound(page)
        page.goto(f"{town.url}/evaluations/{answered}")
        expect(page.get_by_text("is disputed")).to_have_count(0)
        page.get_by_role("link", name="dispute this result").click()
        sound(page)
        page.get_by_label("What is wrong").select_option("cohort-wrong")
        page.get_by_role("button", name="Dispute this result").click()
        expect(page.get_by_text("It is disputed")).to_be_visible()
        sound(page)
        page.get_by_role("link", name="What the hospital signed").click()
        expect(page.get_by_text("This result is disputed")).to_be_visible()
        expect(page.get_by_text("cohort wrong")).to_be_visible()
        sound(page)
