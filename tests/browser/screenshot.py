"""Take the README's picture of a leaderboard: ``python -m tests.browser.screenshot URL OUT.png``."""

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM

WIDTH, SCALE, COLOURS = 1280, 1.5, 96


def take(url: str, out: Path) -> None:
    """Write the board of a page, from its head to its legend, as a small PNG."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        page = browser.new_page(
            color_scheme="light", viewport={"width": WIDTH, "height": 900}, device_scale_factor=SCALE
        )
        page.goto(url)
        legend = page.locator(".legend").bounding_box()
        assert legend is not None, "the page shows no board"
        height = legend["y"] + legend["height"] + 28
        data = page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": WIDTH, "height": height})
        browser.close()
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(out, optimize=True)


if __name__ == "__main__":
    take(sys.argv[1], Path(sys.argv[2]))
