"""What people do at the hub of the demonstration, each with a browser of their own."""

import json
import zipfile
from importlib.resources import files
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

from benchmarks.definition import FILE
from pipelines.bundles import pack_bundle
from tests.browser.reading import RULES, overflow
from tests.end_to_end.demonstration import Standing
from tests.hub.browsing import PASSWORD


def sound(page: Page) -> None:
    """Find nothing wrong with a page's accessibility, nor anything wider than its window."""
    violations = Axe().run(page, options=RULES).response["violations"]
    assert [(found["id"], page.url) for found in violations] == []
    assert overflow(page) == 0, page.url


def operator_invites(town: Standing, name: str) -> str:
    """Let the operator invite the hub's admin, on the machine of the hub, and return the link."""
    arguments = ["person", "invite", name, "--role", "hub-admin", "--json"]
    said = town.command("federation_hub.cli", "--home", str(town.home / "hub"), *arguments)
    return town.url + str(json.loads(said)["link"])


def admin_invites(page: Page, name: str, organisation: str, role: str) -> str:
    """Let the admin invite somebody, and return the link that the page shows once."""
    page.get_by_role("link", name="People", exact=True).click()
    form = page.get_by_role("region", name="Invite somebody")
    form.get_by_label("Name").fill(name)
    form.get_by_label("Organisation").fill(organisation)
    form.get_by_label("reader", exact=True).uncheck()
    form.get_by_label(role, exact=True).check()
    form.get_by_role("button", name="Make the one-time link").click()
    expect(page.get_by_role("heading", name=f"One-time link for {name}")).to_be_visible()
    return page.locator(".secret").inner_text()


def join(page: Page, link: str) -> None:
    """Set a password with a one-time link; that signs in."""
    page.goto(link)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Dashboard")


def admin_invites_hospital(page: Page, name: str) -> str:
    """Let the admin make a place for a hospital's node, and return the code to be told by telephone."""
    page.get_by_role("link", name="Silos", exact=True).click()
    form = page.get_by_role("region", name="Invite a hospital")
    form.get_by_label("Name of the silo").fill(name)
    form.get_by_label("Organisation").fill(name)
    form.get_by_role("button", name="Make the one-time code").click()
    return page.locator(".secret").inner_text()


def admin_compares(page: Page, name: str, fingerprint: str) -> None:
    """Let the admin type in what the hospital reads out."""
    page.get_by_role("link", name="Silos", exact=True).click()
    page.get_by_label(f"Fingerprint that {name} reads out to you").fill(fingerprint)
    page.get_by_role("button", name=f"Approve {name}").click()
    card = page.get_by_role("listitem").filter(has_text=name)
    expect(card.get_by_text("active", exact=True)).to_be_visible()


def token(page: Page, role: str) -> str:
    """Make a token for a program, and return it."""
    page.get_by_role("link", name="Tokens", exact=True).click()
    page.get_by_label("What it is for").fill("medsilo at my desk")
    page.get_by_label(role, exact=True).check()
    page.get_by_role("button", name="Make the token").click()
    return page.locator(".secret").inner_text()


def next_version(folder: Path, benchmark: str) -> Path:
    """Write a benchmark's next version: its owner decides on each model, and two hospitals are enough for numbers."""
    text = (files("benchmarks") / benchmark / FILE).read_text("utf-8")
    for present, wanted in (
        ("version = 1\n", "version = 2\n"),
        ("auto_approve_models = true\n", "auto_approve_models = false\n"),
        ("[input]\n", "[disclosure]\nminimum_sites = 2\n\n[input]\n"),
    ):
        assert text.count(present) == 1, present
        text = text.replace(present, wanted)
    (folder / FILE).write_text(text)
    return folder / FILE


def publish(town: Standing, folder: Path, file: Path, secret: str) -> None:
    """Publish a benchmark version with ``medsilo`` and a token made in the browser."""
    (folder / "token").write_text(secret)
    (folder / "token").chmod(0o600)
    arguments = ["--hub", town.url, "--token-file", str(folder / "token"), "benchmark", "publish", str(file)]
    assert "version 2 is published" in town.command("federation_hub.client.cli", *arguments)


def own_bundle(town: Standing, folder: Path) -> Path:
    """Write a researcher's bundle: the demonstration's trained network, with other words about it."""
    unpacked = folder / "own"
    with zipfile.ZipFile(town.home / "materials" / "models" / "convolutional.zip") as archive:
        archive.extractall(unpacked)
    metadata = json.loads((unpacked / "configs" / "metadata.json").read_text())
    (unpacked / "configs" / "metadata.json").write_text(json.dumps(metadata | {"authors": "Ada"}))
    pack_bundle(unpacked, folder / "own.zip")
    return folder / "own.zip"


def submit(page: Page, title: str, bundle: Path, name: str) -> None:
    """Go through the steps: the benchmark, the bundle, the card; and come to where the model is."""
    page.get_by_role("link", name="Submit a model").first.click()
    sound(page)
    page.get_by_role("link", name=f"Submit to {title}").click()
    page.get_by_label("Bundle").set_input_files(bundle)
    sound(page)
    page.get_by_role("button", name="Send the bundle").click()
    page.get_by_label("Name").fill(name)
    page.get_by_label("What it was trained on").fill("Generated phantoms of another scanner.")
    page.get_by_label("only my organisation", exact=True).check()
    sound(page)
    page.get_by_role("button", name="Submit the model").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(f"Where {name} is")
    expect(page.get_by_text("requested; attempt 1 of your organisation")).to_be_visible()


def row(page: Page, begins: str) -> Locator:
    """Return the row of a hospital or model."""
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=begins))


def make_public(page: Page) -> None:
    """Let everybody see an entry that only one's own organisation saw."""
    page.get_by_role("button", name="Make it public").click()
    expect(page.get_by_role("button", name="Make it public")).to_have_count(0)


def approve(page: Page, model: str) -> None:
    """Let the benchmark's owner say yes to the model that waits on the dashboard."""
    page.get_by_role("link", name="Dashboard").click()
    expect(page.get_by_role("heading", name=model)).to_be_visible()
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Nothing waits for your decision.")).to_be_visible()


def open_matrix(page: Page, benchmark: str) -> None:
    """Open the matrix of models and hospitals of one of the owner's benchmarks."""
    page.get_by_role("link", name="Your benchmarks").click()
    page.get_by_role("link", name=benchmark).click()
    expect(page.get_by_role("heading", name="Models at hospitals")).to_be_visible()


def ask_again(page: Page, hospital: str, reason: str) -> None:
    """Ask one hospital once more, from the matrix."""
    page.get_by_role("combobox", name="Hospital").select_option(label=hospital)
    page.get_by_role("combobox", name="Why").select_option(label=reason)
    page.get_by_role("button", name="Ask again").click()


def dispute(page: Page, reason: str) -> None:
    """Dispute the newest result of the steward's own hospital."""
    page.get_by_role("link", name="Dashboard").click()
    page.get_by_role("region", name="What your silos reported").get_by_role("link").first.click()
    page.get_by_label("What is wrong").select_option(label=reason)
    sound(page)
    page.get_by_role("button", name="Dispute this result").click()
    expect(page.get_by_role("status")).to_contain_text("It is disputed")


def let_stand(page: Page) -> None:
    """Let the benchmark's owner decide about the disputed result on the dashboard: it stands."""
    page.get_by_role("link", name="Dashboard").click()
    page.get_by_role("region", name="Disputed results").get_by_role("link").first.click()
    page.get_by_role("textbox", name="Because").fill("The cohort was looked at once more.")
    page.get_by_role("button", name="Let it stand").click()
    expect(page.get_by_role("status")).to_contain_text("It counts on the leaderboard.")
    expect(page.get_by_text("Decided because: The cohort was looked at once more.")).to_be_visible()


def done(page: Page, action: str, who: str) -> None:
    """See in the audit trail who did something."""
    page.get_by_role("link", name="Audit trail", exact=True).click()
    page.get_by_role("textbox", name="Action").fill(action)
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("row").filter(has_text=action).filter(has_text=who).first).to_be_visible()
