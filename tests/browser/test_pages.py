"""The hub's pages in a browser: accessible, silent on the console, fit for narrow, dark, paper and the keyboard."""

from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.conftest import PublicSite
from tests.browser.reading import NARROW, RULES, WIDE, overflow, reading

pytestmark = pytest.mark.browser
PAGES = (
    "home",
    "board",
    "filtered board",
    "superseded snapshot",
    "model",
    "studies",
    "study",
    "evaluation",
    "methods",
    "status",
    "not found",
)


@pytest.mark.parametrize(("scheme", "viewport"), [("light", WIDE), ("dark", NARROW)], ids=["light wide", "dark narrow"])
def test_axe_finds_nothing_on_any_page(browser: Browser, site: PublicSite, scheme: str, viewport: Any) -> None:
    """WCAG 2.2 AA and best practice; nothing on the console; no sideways scrolling of the page."""
    found = {}
    with reading(browser, color_scheme=scheme, viewport=viewport) as page:
        for name in PAGES:
            page.goto(site.url + site.pages[name])
            result = Axe().run(page, options=RULES)
            found[name] = [violation["id"] for violation in result.response["violations"]]
            assert overflow(page) == 0, name
    assert found == {name: [] for name in PAGES}


@pytest.mark.parametrize(("scheme", "viewport"), [("dark", WIDE), ("light", NARROW)], ids=["dark wide", "light narrow"])
def test_axe_finds_nothing_on_the_board_the_other_way_round(
    browser: Browser, site: PublicSite, scheme: str, viewport: Any
) -> None:
    """The board is drawn in all four ways."""
    with reading(browser, color_scheme=scheme, viewport=viewport) as page:
        page.goto(site.url + site.pages["board"])
        assert Axe().run(page, options=RULES).response["violations"] == []


@pytest.mark.parametrize("name", ["home", "board", "study", "model", "methods"])
def test_pages_reflow_at_320_pixels(browser: Browser, site: PublicSite, name: str) -> None:
    """WCAG 1.4.10: what 400% zoom makes of a wide screen needs no sideways scrolling."""
    with reading(browser, viewport={"width": 320, "height": 640}) as page:
        page.goto(site.url + site.pages[name])
        assert overflow(page) == 0


def test_everything_works_without_javascript(browser: Browser, site: PublicSite) -> None:
    """Filter and sort are a form and links; the board answers."""
    with reading(browser, java_script_enabled=False, viewport=WIDE) as page:
        page.goto(site.url + site.pages["board"])
        page.get_by_text("Filter and sort").click()
        page.locator("select[name=kind]").select_option("Baselines")
        page.get_by_role("button", name="Show").click()
        expect(page).to_have_url(site.url + site.pages["board"] + "?q=&kind=baseline&sort=rank")
        expect(page.locator(".board tbody tr:not(.tie-note)")).to_have_count(1)
        expect(page.locator(".board tbody")).to_contain_text("Mean intensity")
        page.goto(site.url + site.pages["board"])
        page.get_by_role("link", name="AUROC").click()
        expect(page.locator(".board th[aria-sort='descending']")).to_contain_text("AUROC")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(browser: Browser, site: PublicSite) -> None:
    """The first stop skips to the content; every stop has an outline; the filter opens by key."""
    with reading(browser, viewport=WIDE) as page:
        page.goto(site.url + site.pages["board"])
        page.keyboard.press("Tab")
        expect(page.locator(":focus")).to_have_text("Skip to content")
        expect(page.locator(".skip")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        for _ in range(12):
            page.keyboard.press("Tab")
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", page.evaluate("document.activeElement.outerHTML")
        page.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_label("Find a model")).to_be_visible()


def test_a_narrow_board_keeps_its_words_and_drawings(browser: Browser, site: PublicSite) -> None:
    """Each model becomes a card with its rank, score, drawing, chance and worst hospital."""
    with reading(browser, viewport=NARROW) as page:
        page.goto(site.url + site.pages["board"])
        card = page.locator(".board tbody tr:not(.tie-note)").first
        for part in (".rank", ".name", ".score", ".plot", ".chance", ".worst-site", ".size"):
            expect(card.locator(part)).to_be_visible()
        plot = card.locator(".plot").bounding_box()
        assert plot is not None
        assert plot["width"] > 250


def test_a_printed_board_leaves_out_what_paper_cannot_do(browser: Browser, site: PublicSite) -> None:
    """Navigation and filters go; the board stays, dark readers print on white."""
    with reading(browser, viewport=WIDE, color_scheme="dark") as page:
        page.goto(site.url + site.pages["board"])
        page.emulate_media(media="print")
        expect(page.locator(".masthead nav")).to_be_hidden()
        expect(page.locator(".tools")).to_be_hidden()
        expect(page.locator(".board .plot").first).to_be_visible()
        ink = page.evaluate("getComputedStyle(document.body).color")
        assert ink == "rgb(27, 30, 34)"


def test_grid_lines_of_the_rows_meet(browser: Browser, site: PublicSite) -> None:
    """The rows share one axis: a drawing fills the height of its cell, whatever the length of the model's name."""
    with reading(browser, viewport=WIDE) as page:
        page.goto(site.url + site.pages["board"])
        boxes = page.locator(".board tbody .plot-cell").evaluate_all(
            "cells => cells.map(cell => [cell.getBoundingClientRect(), cell.firstElementChild.getBoundingClientRect()])"
        )
        assert all(abs(cell["height"] - drawing["height"]) <= 2 for cell, drawing in boxes)
        assert len({round(drawing["x"]) for _, drawing in boxes}) == 1
