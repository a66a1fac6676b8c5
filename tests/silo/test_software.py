"""What is installed is listed, and what changed unasked is found, by the notes pip itself keeps."""

import base64
import hashlib
import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from typer.testing import CliRunner

from silo_node.cli import app
from silo_node.software import CONTENTS, bill_of_materials, changed_files, differences, installed
from silo_node.wire.errors import BadInput, IntegrityError


def install(folder: Path, name: str, version: str, needs: tuple[str, ...] = (), body: bytes = b"x = 1\n") -> None:
    """Put a package where pip would, with pip's notes."""
    notes = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    notes.mkdir()
    module = f"{name.replace('-', '_')}.py"
    (folder / module).write_bytes(body)
    digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
    (notes / "RECORD").write_text(f"{module},sha256={digest},{len(body)}\n{notes.name}/RECORD,,\n")
    required = "".join(f"Requires-Dist: {text}\n" for text in needs)
    (notes / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{required}")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with the product, what it needs, and something else."""
    needs = ("first>=1", 'only-there>=2; extra == "hub"', "not-here; python_version < '3'")
    for name, version, wanted in (
        ("medsilo", "0.1.0", needs),
        ("first", "1.5", ("Second_One[fast]>=2",)),
        ("second-one", "2.0", ("first",)),
        ("other", "9", ()),
    ):
        install(tmp_path, name, version, wanted)
    return tmp_path


def bill(site: Path) -> dict[str, object]:
    return bill_of_materials(installed(search=[str(site)]))


def test_the_bill_names_everything_the_product_needs_and_nothing_else(site: Path) -> None:
    """In CycloneDX, and twice the same."""
    found = bill(site)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    components = found["components"]
    assert isinstance(components, list)
    assert [one["purl"] for one in components] == ["pkg:pypi/first@1.5", "pkg:pypi/second-one@2.0"]
    assert found == bill(site)
    with pytest.raises(PackageNotFoundError):
        installed("nothing-of-the-kind")


def test_what_changed_is_told_package_by_package(site: Path, tmp_path: Path) -> None:
    """Another version, another package, and the same version with other files inside."""
    before = bill(site)
    assert differences(before, bill(site)) == []
    notes = site / "first-1.5.dist-info" / "RECORD"
    kept = notes.read_text()
    notes.write_text("more.py,sha256=abc,1\n" + kept)
    assert differences(before, bill(site)) == ["first 1.5 has other files inside than it had"]
    notes.write_text(kept)
    install(site, "only-there", "2.0")
    assert differences(before, bill(site)) == ["only-there 2.0 is new"]
    assert differences(bill(site), before) == ["only-there is gone (it was 2.0)"]
    metadata = site / "first-1.5.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.5", "Version: 1.6"))
    assert "first is 1.6, it was 1.5" in differences(before, bill(site))


def test_a_file_that_was_changed_or_removed_after_installing_is_found(site: Path) -> None:
    """Where the notes are as they were."""
    found = installed(search=[str(site)])
    assert list(changed_files(found)) == []
    (site / "first.py").write_bytes(b"x = 2\n")
    (site / "second_one.py").unlink()
    assert list(changed_files(found)) == ["first: first.py", "second-one: second_one.py"]


def test_the_command_writes_a_bill_and_ends_with_a_code_where_something_changed(tmp_path: Path) -> None:
    """Of this very environment."""
    path = tmp_path / "sbom.json"
    run = CliRunner()
    home = ["--home", str(tmp_path / "silo"), "sbom"]
    assert run.invoke(app, [*home, str(path)]).exit_code == 0
    told = json.loads(path.read_text())
    assert "pydantic" in {one["name"] for one in told["components"]}
    same = run.invoke(app, [*home, "--against", str(path), "--json"])
    assert json.loads(same.stdout)["changed"] == []
    told["components"][0]["properties"] = [{"name": CONTENTS, "value": "0" * 64}]
    path.write_text(json.dumps(told))
    with pytest.raises(IntegrityError, match="has other files inside"):
        run.invoke(app, [*home, "--against", str(path)], catch_exceptions=False)
    path.write_text("[]")
    with pytest.raises(BadInput, match="no bill of materials"):
        run.invoke(app, [*home, "--against", str(path)], catch_exceptions=False)
    with pytest.raises(BadInput, match="file-missing"):
        run.invoke(app, [*home, "--against", str(tmp_path / "none")], catch_exceptions=False)
