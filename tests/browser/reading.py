"""A fresh page that fails its test on any complaint of the browser, and what accessibility means here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
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
    context.set_default_timeout(60_000)
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
