"""Addresses of the hub as files of an exported site, and the links between them."""

import posixpath
import re
from collections.abc import Callable, Iterator, Mapping
from html import escape, unescape
from urllib.parse import parse_qsl, unquote, urlsplit

API = "/api/v1/"
_PAGES = ("benchmarks", "evaluations", "methods", "models", "snapshots", "status", "studies", "verify", "badge")
_FILES = ("assets", "feed.atom", f"{API[1:]}benchmarks", f"{API[1:]}snapshots", f"{API[1:]}openapi.json")
_SHOWN = frozenset({"cursor", "page", "sort", "version", "a", "b"})
"""Query parameters that name another view of a page; searches and the rest need a hub."""

_LINK = re.compile(r"""\b(href|src)="(/(?!/)[^"]*)\"""")
_NEEDS_A_HUB = re.compile(r"<form\b.*?</form>|<script\b[^>]*\bsrc=[^>]*>\s*</script>", re.DOTALL)
_VIEWS_SHOWN = 400
"""Other orders and pages of one board that are written out; a board of 1,000 models has 240."""


def public(address: str) -> bool:
    """Tell whether an address is part of the site that is exported."""
    parts = urlsplit(address)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if parts.path == "/":
        return not query
    within = any(parts.path == f"/{name}" or parts.path.startswith(f"/{name}/") for name in (*_PAGES, *_FILES))
    return within and {name for name, _ in query} <= _SHOWN


def file_of(address: str, media_type: str) -> str:
    """Return the file that stands for an address: ``/snapshots/blake3:ab`` is ``snapshots/blake3-ab.html``."""
    parts = urlsplit(address)
    path = unquote(parts.path).removeprefix(API).strip("/").replace(":", "-") or "index"
    suffix = {"text/html": ".html", "application/json": ".json", "text/csv": ".csv"}.get(media_type, "")
    stem = path.removesuffix(suffix) if suffix else path
    if stem.endswith("/inputs"):
        stem = f"{stem.removesuffix('/inputs')}.inputs"
    view = "".join(f".{name}-{value}" for name, value in parse_qsl(parts.query))
    name = f"{stem}{view}{suffix}"
    if ".." in name.split("/"):
        raise ValueError("an address leads out of the folder")
    return name


def links(page: str) -> Iterator[str]:
    """Yield the hub's own addresses a page links to or is drawn with, without their fragments."""
    for match in _LINK.finditer(_NEEDS_A_HUB.sub("", page)):
        yield urlsplit(unescape(match[2]))._replace(fragment="").geturl()


def relinked(page: str, file: str, files: Mapping[str, str]) -> str:
    """Return a page with every link relative to its own file; a link to what is not exported is dropped.

    Forms and programs are left out: from the file system there is no hub to answer them.
    """
    return _LINK.sub(_relative(file, files), _NEEDS_A_HUB.sub("", page))


def _relative(file: str, files: Mapping[str, str]) -> Callable[[re.Match[str]], str]:
    folder = posixpath.dirname(file)

    def replace(match: re.Match[str]) -> str:
        parts = urlsplit(unescape(match[2]))
        plain = parts._replace(fragment="")
        target = files.get(plain.geturl()) or files.get(plain._replace(query="").geturl())
        if target is None:
            return f'data-not-exported="{match[1]}"'
        address = posixpath.relpath(target, folder or ".") + (f"#{parts.fragment}" if parts.fragment else "")
        return f'{match[1]}="{escape(address)}"'

    return replace


def views_of(address: str) -> tuple[str, int]:
    """Return the page an address is a view of, and how many of its views are worth writing out."""
    return urlsplit(address).path, _VIEWS_SHOWN
