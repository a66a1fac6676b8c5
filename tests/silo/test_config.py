"""The configuration: what is not declared is refused, with a suggestion; secrets have no place in it."""

from pathlib import Path

import pytest

from silo_node.config import NodeConfig, load_config, web_address
from silo_node.state import Home, default_home, write_private
from silo_node.wire.errors import ConfigError


def load(tmp_path: Path, text: str) -> NodeConfig:
    """Read a configuration with this text."""
    home = Home(tmp_path)
    home.config_file.write_text(text)
    return load_config(home)


def test_an_absent_or_empty_file_is_the_defaults(tmp_path: Path) -> None:
    """A node starts without a line of configuration, in its sandbox."""
    assert load_config(Home(tmp_path / "nowhere")) == NodeConfig()
    assert load(tmp_path, "") == NodeConfig()
    assert NodeConfig().development_no_sandbox is False


def test_settings_are_read_with_their_sections(tmp_path: Path) -> None:
    """Whole numbers stand for seconds, paths for files."""
    config = load(
        tmp_path, 'threads = 4\nca_bundle = "/etc/ca.pem"\n[poll]\nlongest_seconds = 30\n[limits]\nmemory_mb = 512'
    )
    assert (config.threads, config.ca_bundle) == (4, Path("/etc/ca.pem"))
    assert (config.poll.longest_seconds, config.limits.memory_mb) == (30.0, 512)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("thread = 2", ["'thread'", "'threads'"]),
        ("[limits]\nmemmory_mb = 512", ["'limits.memmory_mb'", "'limits.memory_mb'"]),
        ("developmnt_no_sandbox = true", ["'development_no_sandbox'"]),
        ("[nonsense]\nx = 1", ["'nonsense'"]),
    ],
)
def test_an_unknown_key_is_refused_with_a_suggestion(tmp_path: Path, text: str, names: list[str]) -> None:
    """A limit that is silently not set is worse than a node that does not start."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.code == "config-unknown-key"
    assert all(name in caught.value.detail for name in names)
    assert ("did you mean" in caught.value.detail) == (len(names) > 1 or "development" in names[0])


@pytest.mark.parametrize(
    "text",
    [
        "threads = 0",
        'threads = "four"',
        "threads = 2.5",
        'provenance = "invented"',
        "development_no_sandbox = 1",
        'hub_url = "hub.example.org"',
        'hub_url = "ftp://hub.example.org"',
        "limits = 3",
        "proxy = 2026-01-01",
        "threads = ",
        '[limits]\nmemory_mb = "much"',
    ],
)
def test_a_value_of_another_type_or_out_of_range_is_refused(tmp_path: Path, text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.code == "config-invalid"
    assert "silo.toml" in caught.value.detail


@pytest.mark.parametrize("key", ["proxy", "hub_url"])
def test_a_password_in_an_address_is_refused_and_not_repeated(tmp_path: Path, key: str) -> None:
    """Configuration files are copied into tickets."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f'{key} = "http://user:hunter2@proxy.example.org"')
    assert "hunter2" not in str(caught.value)


def test_the_address_given_to_a_command_is_checked_as_well() -> None:
    """``silo-node enrol --hub`` takes what the configuration would."""
    assert web_address("https://hub.example.org/") == "https://hub.example.org"
    with pytest.raises(ConfigError):
        web_address("hub")


def test_the_state_folder_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else from the platform's place for a user's data."""
    monkeypatch.setenv("SILO_HOME", str(tmp_path))
    assert default_home() == Home(tmp_path)
    monkeypatch.delenv("SILO_HOME")
    assert default_home().path.name == "silo-node"


def test_the_state_folder_is_its_owners_alone(tmp_path: Path) -> None:
    """Made at once, and again without harm."""
    home = Home(tmp_path / "node").create().create()
    assert {path.stat().st_mode & 0o777 for path in (home.path, *home.path.iterdir())} == {0o700}


def test_a_private_file_is_replaced_whole_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    """Whatever the umask; and a failed write leaves what was there."""
    path = tmp_path / "token"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(TypeError):
        write_private(path, "text")  # type: ignore[arg-type]
    assert path.read_bytes() == b"two"
    assert [found.name for found in tmp_path.iterdir()] == ["token"]
