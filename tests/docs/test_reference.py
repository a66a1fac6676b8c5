"""The documentation is held to the code: generated pages are fresh, commands exist, links lead somewhere."""

import importlib.util
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS = {
    "silo-node": "silo_node.cli",
    "federation-hub": "federation_hub.cli",
    "medsilo": "federation_hub.client.cli",
}


def _generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "reference" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _program(name: str) -> Any:
    return typer.main.get_command(importlib.import_module(PROGRAMS[name]).app)


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield path, command
        return
    for name, child in inner.items():
        yield from _commands(child, (*path, name))


ALL_COMMANDS = [found for name in PROGRAMS for found in _commands(_program(name), (name,))]


@pytest.mark.parametrize("name", ["commands.md", "doctor.md", "errors.md", "settings.md", "wire.md"])
def test_a_generated_page_is_what_the_generator_writes_now(name: str) -> None:
    written = (ROOT / "docs" / "reference" / name).read_text("utf-8")
    assert written == _generator().page(name), "run: python docs/reference/generate.py"


@pytest.mark.parametrize(("path", "command"), ALL_COMMANDS, ids=[" ".join(path) for path, _ in ALL_COMMANDS])
def test_every_command_has_help_with_an_example_of_itself(path: tuple[str, ...], command: Any) -> None:
    assert "Example: " in command.help, f"{' '.join(path)} shows no example"
    example = command.help.split("Example: ")[1].replace("\n", " ")
    assert path[0] in example
    assert path[-1] in example


def test_every_command_that_tells_something_offers_json() -> None:
    """Commands that run until they are stopped tell nothing at their end; two print JSON anyhow."""
    without = {" ".join(path) for path, command in ALL_COMMANDS if "--json" not in _options(command)}
    running = {"federation-hub up", "federation-hub web", "federation-hub worker", "silo-node start"}
    assert without == running | {"federation-hub openapi", "silo-node policy schema"}


def test_every_setting_says_what_it_does() -> None:
    rows = re.findall(r"^\| `([^`]+)`.*\| *([^|]*) \|$", _generator().page("settings.md"), re.MULTILINE)
    assert len(rows) > 40
    assert [name for name, note in rows if not note.strip()] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = [entry for name, found in project["optional-dependencies"].items() if name != "dev" for entry in found]
    names = {re.split(r"[<>=~! \[]", entry)[0].lower() for entry in [*project["dependencies"], *extras]}
    page = (ROOT / "docs" / "explanation" / "dependencies.md").read_text("utf-8")
    rows = {match.group(1).lower() for match in re.finditer(r"^\| ([A-Za-z0-9_.-]+) \|", page, re.MULTILINE)}
    assert names <= rows, f"without a reason: {sorted(names - rows)}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_command_line_in_the_documentation_exists(page: Path) -> None:
    """Sub-commands and options of ``$ medsilo ...`` lines are real ones."""
    for line in re.findall(
        r"^\$ ((?:silo-node|federation-hub|medsilo)\b[^\n#]*)", page.read_text("utf-8"), re.MULTILINE
    ):
        _check_line(line.split())


def _check_line(words: list[str]) -> None:
    command, known = _program(words[0]), {"--help", "-h"}
    for word in words[1:]:
        known |= _options(command)
        inner = getattr(command, "commands", {})
        if word in inner:
            command = inner[word]
        elif word.startswith("--"):
            assert word.partition("=")[0] in known | _options(command), f"{' '.join(words)}: no option {word}"
    whole = not getattr(command, "commands", {}) or command.invoke_without_command
    assert whole, f"{' '.join(words)} is not a whole command"


def _options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
