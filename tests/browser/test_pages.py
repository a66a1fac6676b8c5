"""The hub's pages in a browser: accessible, silent on the console, fit for narrow, dark, paper and the keyboard."""

import re

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import select

from federation_hub.evaluations.tables import Task
from tests.browser.reading import FOUR_WAYS, NARROW, TWO_WAYS, WIDE, look_at, reading
from tests.browser.serving import BOARD, PublicSite
from tests.hub.federation import bundle_bytes

pytestmark = pytest.mark.browser
DENSE = ("board", "hospitals", "comparison")


def test_every_page_is_accessible_in_every_way(browser: Browser, site: PublicSite) -> None:
    """WCAG 2.2 AA and best practice, light and dark, wide and narrow; no sideways scrolling down to 320 pixels."""
    with reading(browser) as page:
        found = {
            name: look_at(page, site.url + path, FOUR_WAYS if name in DENSE else TWO_WAYS)
            for name, path in site.pages.items()
        }
    assert found == {name: [] for name in found}


def test_everything_works_without_javascript(browser: Browser, site: PublicSite) -> None:
    """Filter and sort are a form and links; the board answers."""
    with reading(browser, java_script_enabled=False, viewport=WIDE) as page:
        page.goto(site.url + site.pages["board"])
        page.get_by_text("Filter, sort, choose columns").click()
        page.locator("select[name=kind]").select_option("Baselines")
        page.get_by_role("button", name="Show").click()
        expect(page).to_have_url(re.compile(r"\?q=&kind=baseline&sort=rank&columns="))
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


def test_a_filter_changes_the_board_and_the_address_without_a_new_page(browser: Browser, site: PublicSite) -> None:
    """The part is swapped, the address is the state, the back button leads back, the form keeps the focus."""
    with reading(browser, viewport=WIDE) as page:
        page.goto(site.url + BOARD)
        page.evaluate("document.documentElement.dataset.same = 'yes'")
        page.get_by_text("Filter, sort, choose columns").click()
        page.get_by_label("Show").select_option("Baselines")
        expect(page.locator(".board tbody tr:not(.tie-note)")).to_have_count(1)
        expect(page).to_have_url(re.compile("kind=baseline"))
        page.get_by_role("checkbox", name="Brier score").check()
        expect(page.locator(".board thead")).to_contain_text("Brier score")
        expect(page.get_by_role("checkbox", name="Brier score")).to_be_focused()
        page.get_by_role("link", name="AUROC").first.click()
        expect(page.locator(".board th[aria-sort='descending']")).to_contain_text("AUROC")
        assert page.evaluate("document.documentElement.dataset.same") == "yes"
        page.goto(page.url)
        expect(page.locator(".board tbody tr:not(.tie-note)")).to_have_count(1)
        expect(page.locator(".board thead")).to_contain_text("Brier score")


def test_two_models_are_compared_by_keyboard_alone(browser: Browser, site: PublicSite) -> None:
    """From the board to the answer with Tab, arrows and Enter."""
    with reading(browser, viewport=WIDE) as page:
        page.goto(site.url + BOARD)
        page.get_by_role("link", name="Compare two models").focus()
        page.keyboard.press("Enter")
        page.get_by_label("Model B").focus()
        page.keyboard.press("End")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text("or Mean intensity?")
        expect(page.locator(".verdict")).to_contain_text("is the chance that")


def test_progress_at_the_hospitals_is_shown_as_it_is_made(browser: Browser, site: PublicSite) -> None:
    """The matrix looks again by itself; the page is not loaded anew."""
    federation = site.federation
    federation.researcher("Newcomer").submit(bundle_bytes(96), name="Newcomer")
    with reading(browser, viewport=WIDE) as page:
        page.goto(f"{site.url}{BOARD}/sites")
        row = page.locator(".matrix tr", has_text="Newcomer")
        expect(row).to_contain_text("asked")
        page.evaluate("document.documentElement.dataset.same = 'yes'")
        with federation.services.database.session() as session:
            task = session.scalars(select(Task).where(Task.state == "offered")).first()
            assert task is not None
            task.state, task.progress_done, task.progress_total = "running", 34, 60
        expect(row).to_contain_text("57% done")
        assert page.evaluate("document.documentElement.dataset.same") == "yes"
