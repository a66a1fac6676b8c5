"""A hospital of the demonstration from inside: its policy, its commands, and its console with a steward at it."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from silo_node.state import Home
from tests.browser.console import STEWARD, RunningConsole, running_console, told
from tests.end_to_end.demonstration import Standing


@dataclass(frozen=True)
class Hospital:
    """One hospital's folder, and the commands its IT runs there."""

    town: Standing
    number: int

    @property
    def home(self) -> Path:
        return self.town.home / f"silo-{self.number}"

    def command(self, *arguments: str) -> Any:
        """Run ``silo-node`` there and return the JSON it printed."""
        return json.loads(self.town.command("silo_node.cli", "--home", str(self.home), *arguments, "--json"))

    def take_part(self, benchmark: str) -> None:
        """Build a cohort for the newest version of a benchmark, and register it."""
        built = self.command("cohort", "build", benchmark)
        self.command("cohort", "register", built["cohort_id"])

    def hold(self, *kinds: str) -> None:
        """Write into the policy that a person releases these; it counts from the node's next decision on."""
        policy = self.home / "policy.toml"
        text = policy.read_text()
        for kind in kinds:
            text = text.replace(f'{kind} = "auto"', f'{kind} = "hold"')
        policy.write_text(text)

    @contextmanager
    def console(self, folder: Path) -> Iterator[RunningConsole]:
        """Run the hospital's console inside the block; it reaches the hub on the way the node does."""
        with running_console(Home(self.home), folder, **self.town.variables) as running:
            yield running


def build_cohort(page: Page, benchmark: str) -> None:
    """Build a cohort for the newest version of a benchmark; the page tells by itself when it is frozen."""
    page.get_by_role("link", name="Cohorts", exact=True).first.click()
    page.get_by_role("link", name="Build a cohort").click()
    page.get_by_label("Or another, by its name at the hub").fill(benchmark)
    page.get_by_role("button", name="Build the cohort").click()
    expect(page.get_by_role("heading", name="The cohort is frozen")).to_be_visible()


def register_cohort(page: Page) -> None:
    """Look at what the hub would be told, ask for it, and release it."""
    page.get_by_role("link", name="Look at what registering would tell the hub").click()
    expect(page.get_by_text("Exact counts stay at this site.")).to_be_visible()
    page.get_by_role("button", name="Register at the hub").click()
    expect(told(page)).to_contain_text("waits here until a person releases it")
    page.get_by_role("button", name="Register the cohort").click()
    expect(told(page)).to_contain_text(f"Released by {STEWARD}")


def open_results(page: Page) -> str:
    """Wait at the home page for results that want to leave, open them, and return the score that would."""
    page.get_by_role("link", name="Home", exact=True).first.click()
    page.get_by_role("link", name=re.compile("^Results of 1 model on")).click()
    row = page.locator(".border table").first.get_by_role("row").filter(has_text=re.compile(r"\d\.\d{3} \("))
    expect(row.first).to_be_visible()
    found = re.search(r"\d\.\d{3}", row.first.inner_text())
    assert found, row.first.inner_text()
    return found.group()


def keep_results(page: Page) -> None:
    """Say no: the hub is told a code, and nothing of the results."""
    page.get_by_role("button", name="Keep them here").click()
    expect(told(page)).to_contain_text(f"It stays here, by {STEWARD}")


def release_results(page: Page) -> None:
    """Say yes, and see in the log of this site that it left."""
    page.get_by_role("button", name="Release the results").click()
    expect(told(page)).to_contain_text(f"Released by {STEWARD}")


def see_what_left(page: Page) -> None:
    """See the chain hold, and under whose name what left."""
    page.get_by_role("link", name="What left").first.click()
    expect(page.get_by_text("lines holds")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="sent the results of an evaluation").first).to_be_visible()
    expect(page.get_by_role("row").filter(has_text=STEWARD).first).to_be_visible()
