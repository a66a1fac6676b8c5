"""A silo's console in a browser: accessible, silent on the console, and whole without JavaScript."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from silo_node.agent.tasks import TaskBook
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.state import Home
from tests.browser.console import RunningConsole, running_console
from tests.browser.reading import NARROW, RULES, WIDE, overflow, reading
from tests.silo.furnished import furnish

pytestmark = pytest.mark.browser
PAGES = (
    "/",
    "/approvals",
    "/work",
    "/cohorts",
    "/studies",
    "/left",
    "/left?show=all",
    "/policy",
    "/health",
    "/nothing",
)


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    folder = tmp_path_factory.mktemp("console")
    home, _ = furnish(folder)
    with running_console(home, folder) as running:
        yield running


def enter(page: Page, console: RunningConsole) -> None:
    """Sign in with a one-time link."""
    page.goto(console.link())
    page.get_by_role("button", name="Open the console").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Images stay here")


def items(home: Home, *states: Any) -> list[Item]:
    journal = Journal(home)
    try:
        return Outbox(journal).items(*states)
    finally:
        journal.close()


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light wide", "dark narrow"])
def test_axe_finds_nothing_on_any_page(
    browser: Browser, console: RunningConsole, scheme: str, viewport: dict[str, int]
) -> None:
    """WCAG 2.2 AA and best practice; nothing on the browser's console; no sideways scrolling."""
    found: dict[str, list[str]] = {}
    shown = [f"/approvals/{item.item_id}" for item in items(console.home)]
    with reading(browser, color_scheme=scheme, viewport=viewport) as page:
        page.goto(console.link())
        found["/sign-in"] = violations(page)
        page.get_by_role("button", name="Open the console").click()
        page.goto(f"{console.url}/cohorts")
        cohort = page.locator(".cards h3 a").first.get_attribute("href") or ""
        for path in (*PAGES, *shown, cohort):
            page.goto(console.url + path)
            found[path] = violations(page)
            assert overflow(page) == 0, path
    assert found == {path: [] for path in found}


@pytest.mark.parametrize(("scheme", "viewport"), [("dark", WIDE), ("light", NARROW)], ids=["dark wide", "light narrow"])
def test_axe_finds_nothing_on_a_decision_the_other_way_round(
    browser: Browser, console: RunningConsole, scheme: str, viewport: dict[str, int]
) -> None:
    """The page that matters most is drawn in all four ways."""
    with reading(browser, color_scheme=scheme, viewport=viewport) as page:
        enter(page, console)
        page.goto(f"{console.url}/approvals/{items(console.home)[1].item_id}")
        assert violations(page) == []
        assert overflow(page) == 0


def violations(page: Page) -> list[str]:
    return [violation["id"] for violation in Axe().run(page, options=RULES).response["violations"]]


def test_what_would_leave_is_read_and_released_without_javascript(
    browser: Browser, console: RunningConsole, tmp_path: Path
) -> None:
    """From a one-time link to a released item, under the person's name, with forms and links alone."""
    with reading(browser, java_script_enabled=False, viewport=WIDE) as page:
        page.goto(console.link("j.fischer"))
        page.get_by_role("button", name="Open the console").click()
        page.get_by_role("link", name="Approvals").click()
        page.get_by_role("link", name="Results of 3 models on Little X-rays", exact=True).click()
        sheet = page.locator(".border")
        expect(sheet).to_contain_text("0.912 (0.853 to 0.971)")
        expect(sheet).to_contain_text("60 cases of 58 patients")
        page.get_by_text("The exact content").click()
        (block,) = (item for item in items(console.home) if item.kind == "estimate-block")
        expect(page.locator(".bytes")).to_contain_text('"theta": [')
        page.get_by_role("button", name="Release the results").click()
        expect(page.locator(".notice")).to_contain_text("Released by j.fischer")
    (after,) = (item for item in items(console.home) if item.item_id == block.item_id)
    assert (after.released_by, after.state) == ("j.fischer", "sent")


def test_a_study_is_said_no_to(browser: Browser, console: RunningConsole) -> None:
    """The plan is told before the question, and the no is a signed one."""
    with reading(browser, viewport=NARROW) as page:
        enter(page, console)
        page.get_by_role("link", name="Take part in “Lungs together”?").click()
        expect(page.get_by_text("Dr Ada Keller (Lakeside University) asks this site")).to_be_visible()
        expect(page.get_by_text("one file of about 28.4 MB")).to_be_visible()
        page.get_by_role("button", name="Do not take part").click()
        expect(page.locator(".notice")).to_contain_text("It stays here, by m.okafor")
        page.goto(f"{console.url}/studies")
        expect(page.locator(".cards")).to_contain_text("no; ")


def test_progress_is_shown_as_it_is_made(browser: Browser, console: RunningConsole) -> None:
    """The page is not loaded again, and the part that changed is."""
    with reading(browser, viewport=WIDE) as page:
        enter(page, console)
        page.goto(f"{console.url}/work")
        expect(page.locator(".jobs")).to_contain_text("34 of 60")
        journal = Journal(console.home)
        TaskBook(journal).progress("task-00000003", 35, 60)
        journal.close()
        expect(page.locator(".jobs")).to_contain_text("35 of 60")


def test_the_keyboard_reaches_every_choice(browser: Browser, console: RunningConsole) -> None:
    """The first stop skips to the content; a decision is made with Tab and Enter."""
    with reading(browser, viewport=WIDE) as page:
        enter(page, console)
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Skip to content")
        page.goto(f"{console.url}/health")
        page.get_by_role("button", name="Check now").focus()
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none"


def test_signing_out_ends_it_for_the_back_button_too(browser: Browser, console: RunningConsole) -> None:
    with reading(browser, viewport=WIDE) as page:
        enter(page, console)
        page.get_by_role("button", name="Sign out").click()
        expect(page).to_have_url(re.compile("/sign-in$"))
        page.go_back()
        expect(page).to_have_url(re.compile("/sign-in"))


def test_the_console_is_a_process_of_its_own(console: RunningConsole) -> None:
    """It listens on 127.0.0.1 only, and loads no torch; the node does not load it."""
    process = psutil.Process(console.process.pid)
    listening = {found.laddr.ip for found in process.net_connections() if found.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert process.memory_info().rss < 200_000_000
    assert process.pid != os.getpid()
