"""A silo's console in a browser: accessible, silent on the console, and whole without JavaScript."""

import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from silo_node.agent.consents import consider
from silo_node.agent.tasks import TaskBook
from silo_node.identity import load_identity
from silo_node.journal import Journal
from silo_node.outbox.box import Item, Outbox
from silo_node.outbox.words import content
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkReference
from tests.browser.console import RunningConsole, enter, running_console, told
from tests.browser.reading import NARROW, RULES, WIDE, overflow, reading
from tests.silo.furnished import consent, furnish
from tests.silo.stand_in import StandIn

pytestmark = pytest.mark.browser
PAGES = (
    "/",
    "/approvals",
    "/work",
    "/work/task-00000003",
    "/cohorts",
    "/cohorts/new",
    "/cohorts/build",
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
    home, hub = furnish(folder)
    take_part(home, hub)
    with running_console(home, folder) as running:
        yield running


def take_part(home: Home, hub: StandIn) -> None:
    """Say yes to a second study, so that there is a consent to end."""
    journal, identity = Journal(home), load_identity(home)
    registration = next(found for found in Outbox(journal).items() if found.kind == "cohort-registration")
    first = consent(hub, BenchmarkReference.model_validate(content(registration)["benchmark"]))
    plan = first.plan.model_copy(update={"name": "hearts_together", "title": "Hearts together"})
    asked = {"association_id": "assoc-87654321", "study_id": "study-2m4n6p8q", "plan": plan}
    item = consider(home, identity, journal, first.model_copy(update=asked))
    assert item is not None
    Outbox(journal).release(item.item_id, "j.fischer")
    Outbox(journal).sending(item.item_id)
    Outbox(journal).acknowledged(item.item_id, "{}")
    journal.close()


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
        expect(told(page)).to_contain_text("Released by j.fischer")
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
        expect(told(page)).to_contain_text("It stays here, by m.okafor")
        page.goto(f"{console.url}/studies")
        expect(page.locator(".cards")).to_contain_text("no; ")


def test_a_cohort_is_built_without_javascript(browser: Browser, console: RunningConsole, tmp_path: Path) -> None:
    """With a table of labels and a query; the page that tells how it went is looked at by axe, light and dark."""
    table = tmp_path / "findings.csv"
    table.write_text("patient,label\n" + "".join(f"P{n:06d},{n % 2}\n" for n in range(60)))
    with reading(browser, java_script_enabled=False, viewport=WIDE) as page:
        page.goto(console.link())
        page.get_by_role("button", name="Open the console").click()
        page.get_by_role("link", name="Cohorts").click()
        page.get_by_role("link", name="Build a cohort").click()
        page.get_by_label("Taken in under the name").select_option("little_xray")
        page.locator("select[name=definition]").select_option(label="Little X-rays (little_xray 1)")
        page.get_by_label("Labels, where the images came without").set_input_files(table)
        page.get_by_label("One case of each patient").check()
        page.get_by_role("button", name="Build the cohort").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("A cohort being built")
        with console.home.console_build_lock.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
        page.reload()
        expect(page.get_by_role("heading", name="The cohort is frozen")).to_be_visible()
        expect(page.get_by_role("heading", name="Quality")).to_be_visible()
        page.get_by_role("link", name="Look at what registering would tell the hub").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Little X-rays")
    for scheme, viewport in (("light", NARROW), ("dark", WIDE)):
        with reading(browser, color_scheme=scheme, viewport=viewport) as page:
            enter(page, console)
            for path in ("/cohorts/build", "/cohorts/new"):
                page.goto(console.url + path)
                for summary in page.locator("summary").all():
                    summary.click()
                assert violations(page) == [], path
                assert overflow(page) == 0, path


def test_a_consent_that_was_given_is_ended(browser: Browser, console: RunningConsole) -> None:
    """Only after the box says that no further part is wanted."""
    with reading(browser, viewport=NARROW) as page:
        enter(page, console)
        page.goto(f"{console.url}/studies")
        button = page.get_by_role("button", name=re.compile("End the consent ?: Hearts together"))
        button.click()
        assert page.url.endswith("/studies")
        expect(told(page)).to_have_count(0)
        page.get_by_label("Take no further part in Hearts together").check()
        button.click()
        expect(told(page)).to_contain_text("The consent is ended")
        expect(button).to_have_count(0)


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
