"""A fresh page that fails its test on any complaint of the browser, and what accessibility means here."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect

WIDE: ViewportSize = {"width": 1280, "height": 900}
NARROW: ViewportSize = {"width": 390, "height": 844}
SMALLEST: ViewportSize = {"width": 320, "height": 640}
"""WCAG 1.4.10: what 400% zoom makes of a wide screen."""

ZOOMED: ViewportSize = {"width": 640, "height": 450}
"""What 200% zoom makes of a wide screen."""

PATIENCE = 60_000
"""Milliseconds a page may take to show what is awaited."""

RULES = {
    "resultTypes": ["violations"],
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    },
}


@contextmanager
def reading(browser: Browser, **options: Any) -> Iterator[Page]:
    """Yield a fresh page; any error or refusal the browser reports fails the test."""
    context = browser.new_context(**options)
    # On a machine that does other work, too, a page may take long; one that never comes still fails.
    context.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    # The browser reports the status of a page that is not there; that is the page's own subject.
    assert [text for text in complaints if "404" not in text] == []


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


TWO_WAYS: tuple[tuple[ViewportSize, str], ...] = ((WIDE, "light"), (NARROW, "dark"))
FOUR_WAYS: tuple[tuple[ViewportSize, str], ...] = (*TWO_WAYS, (NARROW, "light"), (WIDE, "dark"))


def look_at(page: Page, address: str, ways: Sequence[tuple[ViewportSize, str]] = FOUR_WAYS) -> list[str]:
    """Open a page and return what is wrong with it: light and dark, wide and narrow, and at every zoom.

    The rules of WCAG 2.2 AA and best practice are run by axe-core. Colours do not depend on the width, nor the layout
    on the colours, so two ways find nearly everything.
    """
    page.set_viewport_size(WIDE)
    page.emulate_media(color_scheme="light")
    page.goto(address)
    page.evaluate(Axe().axe_script)
    wrong = []
    for viewport, scheme in ways:
        page.set_viewport_size(viewport)
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        found = page.evaluate("options => axe.run(document, options)", RULES)
        wrong += [f"{scheme}, {viewport['width']}: {violation['id']}" for violation in found["violations"]]
        wrong += _too_wide(page)
    for viewport in (ZOOMED, SMALLEST):
        page.set_viewport_size(viewport)
        wrong += _too_wide(page)
    return wrong


def _too_wide(page: Page) -> list[str]:
    pixels = overflow(page)
    return [f"{pixels} pixels too wide for {page.viewport_size}"] if pixels else []
