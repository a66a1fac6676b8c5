"""The pages behind the door in a browser: accessible, silent, and a person's way from the link to a program's token."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from sqlalchemy import select
from werkzeug.serving import make_server

from federation_hub.accounts import sessions
from federation_hub.accounts.service import add_person
from federation_hub.accounts.tables import Person
from federation_hub.db import now
from federation_hub.evaluations.tables import Evaluation
from tests.browser.reading import NARROW, RULES, WIDE, overflow, reading
from tests.hub.browsing import PASSWORD, invited
from tests.hub.federation import Federation, hub_at

pytestmark = pytest.mark.browser
PAGES = (
    "/dashboard",
    "/account",
    "/account/tokens",
    "/account/benchmarks",
    "/benchmarks/chest_phantom/sites",
    "/device",
    "/admin/people",
    "/admin/silos",
    "/audit",
)
"""The hospitals' page is public; to the benchmark's owner it shows a form besides."""


@dataclass(frozen=True)
class Desk:
    """A hub that listens, and the cookie of a signed-in person with every role."""

    url: str
    cookie: str
    federation: Federation
    disputed: str
    """The page of a disputed result, which somebody has to decide about."""

    @property
    def pages(self) -> tuple[str, ...]:
        return (*PAGES, self.disputed)

    @property
    def reports(self) -> str:
        """What browsers reported against the content policy."""
        text = self.federation.anybody.http.get("/metrics").text
        return next(line for line in text.splitlines() if line.startswith("medsilo_csp_reports_total"))


@pytest.fixture(scope="module")
def desk(showcase_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The showcase hub behind a server, with a pending silo and somebody signed in."""
    home = tmp_path_factory.mktemp("desk") / "hub"
    shutil.copytree(showcase_home, home)
    for federation in hub_at(home):
        federation.pending_silo("St. Pending")
        roles = ["hub-admin", "researcher", "benchmark-owner", "data-steward"]
        with federation.services.database.session() as session:
            add_person(session, name="Root", organisation="Eastgate Hospital", roles=roles)
            person = session.scalars(select(Person).where(Person.name == "Root")).one()
            cookie = sessions.begin(session, person, replaces=None, how="password", at=now())
            answered = session.scalars(select(Evaluation.id).where(Evaluation.state == "answered")).first()
        disputed = federation.admin.post(f"/evaluations/{answered}/dispute", {"reason": "implausible"})
        assert disputed.get_json()["state"] == "disputed"
        server = make_server("127.0.0.1", 0, federation.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Desk(f"http://127.0.0.1:{server.port}", cookie, federation, f"/account/evaluations/{answered}")
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light wide", "dark narrow"])
def test_axe_finds_nothing_behind_the_door(browser: Browser, desk: Desk, scheme: str, viewport: Any) -> None:
    """WCAG 2.2 AA and best practice on every page; no sideways scrolling, also at 320 pixels."""
    found = {}
    with reading(browser, color_scheme=scheme, viewport=viewport) as page:
        for path in ("/sign-in", f"/join?code={_code(desk, scheme)}"):
            page.goto(desk.url + path)
            found[path] = [entry["id"] for entry in Axe().run(page, options=RULES).response["violations"]]
        page.context.add_cookies([{"name": "medsilo-session", "value": desk.cookie, "url": desk.url}])
        for path in desk.pages:
            page.goto(desk.url + path)
            found[path] = [entry["id"] for entry in Axe().run(page, options=RULES).response["violations"]]
            assert overflow(page) == 0, path
    assert {path: rules for path, rules in found.items() if rules} == {}
    assert desk.reports == "medsilo_csp_reports_total 0.0"


def test_pages_behind_the_door_reflow_at_320_pixels(browser: Browser, desk: Desk) -> None:
    """WCAG 1.4.10."""
    with reading(browser, viewport={"width": 320, "height": 640}) as page:
        page.context.add_cookies([{"name": "medsilo-session", "value": desk.cookie, "url": desk.url}])
        for path in desk.pages:
            page.goto(desk.url + path)
            assert overflow(page) == 0, path


def test_from_the_one_time_link_to_a_program_s_token(browser: Browser, desk: Desk) -> None:
    """A password is set, a program approved, its token seen and revoked, and the person signed out; forms all along."""
    told = desk.federation.anybody.http.post("/api/v1/oauth/device", data={"client_id": "medsilo"}).get_json()
    with reading(browser, viewport=WIDE) as page:
        page.goto(f"{desk.url}/join?code={_code(desk, 'way')}")
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set the password").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")
        page.goto(f"{desk.url}/device?code={told['user_code']}")
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("The program is connected")
        form = {
            "client_id": "medsilo",
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": told["device_code"],
        }
        token = desk.federation.anybody.http.post("/api/v1/oauth/token", data=form).get_json()["access_token"]
        page.get_by_role("link", name="Tokens").first.click()
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("None.")).to_be_visible()
        headers = {"Authorization": f"Bearer {token}"}
        assert desk.federation.anybody.http.get("/api/v1/me", headers=headers).status_code == 401
        page.goto(f"{desk.url}/account")
        page.get_by_role("button", name="Sign out", exact=True).click()
        page.goto(f"{desk.url}/account")
        expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
        page.get_by_label("Name").fill("Visitor way")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Visitor way")


def _code(desk: Desk, name: str) -> str:
    return invited(desk.federation, f"Visitor {name}", "researcher")
