"""Take the documentation's pictures of the hub's pages: ``python -m tests.browser.screenshot [--hub URL] FOLDER``.

Without an address the filled hub of the tests is served and looked at; ``make screenshots`` does that. The pictures
are small on purpose: few colours, and only the part of a page that a picture is about.
"""

import argparse
import io
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, FloatRect, Page

from federation_hub.accounts.service import ensure_admin
from federation_hub.config import HubConfig
from federation_hub.db import Database
from federation_hub.logging import configure_logging
from federation_hub.migrations.runner import migrate
from tests.browser.chromium import chromium
from tests.browser.serving import BOARD, serving
from tests.hub.federation import hub_at
from tests.hub.showcase import fill

SCALE, COLOURS = 1.5, 64
MARGIN = 28
PICTURES_VARIABLE = "MEDSILO_PICTURES"
"""The folder in which the walk over a real federation leaves its pictures; by default it takes none."""


@dataclass(frozen=True)
class Picture:
    """One picture: which page, how wide and in which colours, and what it shows down to."""

    name: str
    page: str
    until: str
    width: int = 1280
    scheme: str = "light"
    scale: float = SCALE


PICTURES = (
    Picture("leaderboard", "board", ".legend"),
    Picture("leaderboard-narrow-dark", "board", ".board tbody:nth-of-type(1)", 390, "dark"),
    Picture("comparison", "comparison", ".forest", scale=1),
    Picture("hospitals", "hospitals", ".matrix", scale=1),
    Picture("question", "question", ".flow", scale=1),
    Picture("study", "study", ".curve", scale=1),
    Picture("model", "model", ".forest", 1280, "dark", scale=1),
)


def take(browser: Browser, address: str, picture: Picture, out: Path) -> None:
    """Write a page, from its head to the end of one element, as a small PNG."""
    page = browser.new_page(
        color_scheme=picture.scheme,  # type: ignore[arg-type]
        viewport={"width": picture.width, "height": 900},
        device_scale_factor=picture.scale,
    )
    page.goto(address)
    write(page, picture.until, out / f"{picture.name}.png")
    page.close()


def write(page: Page, until: str, path: Path) -> None:
    """Write what a page shows, down to the end of one element."""
    last = page.locator(until).first.bounding_box()
    assert last is not None, f"the page does not show {until}"
    height = last["y"] + last["height"] + MARGIN
    shown: FloatRect = {"x": 0, "y": 0, "width": page.evaluate("innerWidth"), "height": height}
    data = page.screenshot(full_page=True, clip=shown)
    image = Image.open(io.BytesIO(data)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def keep_picture(page: Page, name: str, until: str) -> None:
    """Write a picture for the documentation where a test is run for that; ``make screenshots`` does."""
    folder = os.environ.get(PICTURES_VARIABLE)
    if folder:
        write(page, until, Path(folder) / f"{name}.png")


@contextmanager
def filled_hub() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Fill a hub as the tests do, and serve it."""
    with tempfile.TemporaryDirectory() as folder:
        config = HubConfig(home=Path(folder))
        database = Database(config.database)
        migrate(database)
        ensure_admin(config, database)
        database.close()
        for federation in hub_at(config.home):
            fill(federation)
        with serving(config.home) as site:
            yield site.url, site.pages


def main() -> None:
    """Take every picture, or those of the leaderboard alone from a hub that runs elsewhere."""
    configure_logging(as_json=True, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hub", help="address of a running hub; only the leaderboard is taken there")
    given = parser.parse_args()
    with chromium() as browser:
        if given.hub is not None:
            take(browser, given.hub.rstrip("/") + BOARD, PICTURES[0], given.folder)
        else:
            with filled_hub() as (url, pages):
                for picture in PICTURES:
                    take(browser, url + pages[picture.page], picture, given.folder)


if __name__ == "__main__":
    main()
