"""A page of the hub as a strict parser reads it."""

import re
from html.parser import HTMLParser

from flask.testing import FlaskClient

VOID = {"meta", "link", "input", "br", "hr", "img", "line", "circle", "rect", "path"}


class Page(HTMLParser):
    """What a page holds, read by a parser that insists on every element being closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag
        if tag in ("td", "th", "dt", "dd", "li", "p"):
            self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str]:
        """Return every value of an attribute."""
        return [value or "" for _, found in self.tags for key, value in found.items() if key == name]


def read(client: FlaskClient, path: str, status: int = 200) -> Page:
    """Return a page that must be answered with this status."""
    answer = client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == status, f"{path}: {answer.status_code}"
    return Page(answer.text)


def flat(page: Page) -> str:
    """Return a page's text with single spaces."""
    return re.sub(r"\s+", " ", page.text)
