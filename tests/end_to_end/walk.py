"""The way of every persona over one demonstration, each act in the order in which they need each other."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.console import enter
from tests.browser.reading import NARROW, WIDE, reading
from tests.browser.screenshot import keep_picture
from tests.end_to_end import hospital as silo
from tests.end_to_end import personas as hub
from tests.end_to_end.demonstration import Standing
from tests.end_to_end.hospital import Hospital

BENCHMARK, TITLE = "chest_phantom", "Opacity on synthetic chest X-rays"
MODEL = "Ada's network"
BIRCHWOOD, LAKESIDE, HARBOUR = "Birchwood Hospital", "Lakeside Clinic", "Harbour Hospital"


@dataclass(frozen=True)
class Cast:
    """Everybody who takes part, each with a browser of their own."""

    admin: Page
    owner: Page
    researcher: Page
    steward: Page
    """Birchwood's data steward at the hub."""

    console: Page
    """The same person at Birchwood's own console."""

    reader: Page


@contextmanager
def everybody(browser: Browser) -> Iterator[Cast]:
    """Open a browser for each; any error or refusal that one reports fails the test."""
    with ExitStack() as stack:
        wide, dark, narrow = {"viewport": WIDE}, {"viewport": WIDE, "color_scheme": "dark"}, {"viewport": NARROW}
        kinds = (wide, dark, wide, narrow, wide, narrow)
        yield Cast(*(stack.enter_context(reading(browser, **kind)) for kind in kinds))


def invite(town: Standing, cast: Cast) -> None:
    """The operator invites the admin, the admin everybody else and one more hospital, whose fingerprint he compares."""
    hub.join(cast.admin, hub.operator_invites(town, "Root"))
    for page, name, organisation, role in (
        (cast.owner, "Bo", "Benchmark group", "benchmark-owner"),
        (cast.researcher, "Ada", "Institute of Radiology", "researcher"),
        (cast.steward, "Mary Okafor", BIRCHWOOD, "data-steward"),
    ):
        hub.join(page, hub.admin_invites(cast.admin, name, organisation, role))
    code = hub.admin_invites_hospital(cast.admin, HARBOUR)
    enrolled = Hospital(town, 4).command("enrol", "--hub", town.url, "--code", code)
    hub.admin_compares(cast.admin, HARBOUR, enrolled["fingerprint"])


def take_part(town: Standing, cast: Cast) -> None:
    """Two hospitals build cohorts for the new version: one by commands, one in its console with a person's yes."""
    with ThreadPoolExecutor(1) as pool:
        lakeside = pool.submit(Hospital(town, 2).take_part, BENCHMARK)
        silo.build_cohort(cast.console, BENCHMARK)
        silo.register_cohort(cast.console)
        lakeside.result()


def submit(town: Standing, cast: Cast, folder: Path) -> None:
    """The researcher submits a model for her own eyes, and the benchmark's owner lets it in."""
    hub.submit(cast.researcher, TITLE, hub.own_bundle(town, folder), MODEL)
    hub.approve(cast.owner, MODEL)


def see_results_come(cast: Cast) -> str:
    """Results appear hospital by hospital and nobody loads a page; one is kept back, asked for again, and released.

    Returns the score at the hospital that decides by hand, as its steward reads it before it leaves.
    """
    page = cast.researcher
    expect(hub.row(page, LAKESIDE)).to_contain_text("released")
    expect(hub.row(page, BIRCHWOOD)).to_contain_text("a person there has to release it")
    hub.sound(page)
    keep_picture(page, "where-it-is", "#where")
    silo.open_results(cast.console)
    silo.keep_results(cast.console)
    expect(hub.row(page, BIRCHWOOD)).to_contain_text("the site did not release the result")
    hub.open_matrix(cast.owner, f"{TITLE}, version 2")
    expect(hub.row(cast.owner, MODEL)).to_contain_text("the site did not release the result")
    hub.sound(cast.owner)
    keep_picture(cast.owner, "matrix", "#matrix-part")
    hub.ask_again(cast.owner, BIRCHWOOD, "site ready")
    page.get_by_role("link", name="Look again").click()
    score = silo.open_results(cast.console)
    keep_picture(cast.console, "approval", ".decide")
    silo.release_results(cast.console)
    expect(hub.row(page, BIRCHWOOD)).to_contain_text("released")
    expect(page.get_by_text("over 2 hospitals and 230 cases")).to_be_visible()
    expect(hub.row(cast.owner, MODEL).get_by_role("link", name="released")).to_have_count(2)
    return score


def publish(town: Standing, cast: Cast, score: str) -> None:
    """What nobody else saw becomes public, and a reader finds the number that left the hospital."""
    board = f"{town.url}/benchmarks/{BENCHMARK}"
    cast.reader.goto(board)
    expect(cast.reader.get_by_text(MODEL)).to_have_count(0)
    hub.make_public(cast.researcher)
    cast.reader.goto(board)
    cast.reader.get_by_role("link", name=MODEL).first.click()
    expect(hub.row(cast.reader, BIRCHWOOD)).to_contain_text(score)
    cast.researcher.get_by_role("link", name="Your models").click()
    expect(cast.researcher.get_by_role("link", name=MODEL)).to_be_visible()
    hub.sound(cast.researcher)


def dispute(cast: Cast) -> None:
    """The hospital's steward sees its own silo only, and disputes its result; every reader sees it until it stands."""
    cast.steward.reload()
    silos = cast.steward.get_by_role("region", name="Your silos", exact=True)
    expect(silos).to_contain_text(BIRCHWOOD)
    expect(silos.locator("dt")).to_have_count(1)
    hub.sound(cast.steward)
    hub.dispute(cast.steward, "cohort wrong")
    cast.steward.get_by_role("link", name="What the hospital signed").click()
    expect(cast.steward.get_by_text("This result is disputed")).to_be_visible()
    cast.reader.reload()
    expect(hub.row(cast.reader, BIRCHWOOD)).to_have_count(0)
    hub.let_stand(cast.owner)
    cast.reader.reload()
    expect(hub.row(cast.reader, BIRCHWOOD)).to_be_visible()


def walk(town: Standing, browser: Browser, folder: Path) -> None:
    """Go through every act, from the first invitation to the audit trail."""
    birchwood = Hospital(town, 1)
    birchwood.hold("registrations", "results")
    with everybody(browser) as cast, birchwood.console(folder) as console:
        enter(cast.console, console)
        invite(town, cast)
        version = hub.next_version(folder, BENCHMARK)
        hub.publish(town, folder, version, hub.token(cast.owner, "benchmark-owner"))
        take_part(town, cast)
        submit(town, cast, folder)
        score = see_results_come(cast)
        silo.see_what_left(cast.console)
        publish(town, cast, score)
        dispute(cast)
        hub.done(cast.admin, "association.approve", "Bo")
