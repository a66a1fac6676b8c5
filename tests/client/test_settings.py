"""Where the researcher's programs find the hub and the token."""

from pathlib import Path

import pytest

from federation_hub.client.settings import ClientSettings, load_settings, read_token, save_settings
from silo_node.wire.errors import ConfigError


def test_what_is_saved_is_found_again(tmp_path: Path) -> None:
    settings = ClientSettings(hub="https://hub.example.org", token_file=tmp_path / 'a "quoted" näme')
    path = save_settings(settings, tmp_path / "folder" / "client.toml")
    assert load_settings({}, path) == settings


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = save_settings(ClientSettings(hub="https://old.example.org", token_file=tmp_path), tmp_path / "client.toml")
    found = load_settings({"MEDSILO_HUB": "https://new.example.org"}, path)
    assert found == ClientSettings(hub="https://new.example.org", token_file=tmp_path)


def test_an_unknown_key_is_an_error_with_a_suggestion(tmp_path: Path) -> None:
    path = tmp_path / "client.toml"
    path.write_text('token_fiel = "x"\n')
    with pytest.raises(ConfigError, match="did you mean token_file") as caught:
        load_settings({}, path)
    assert caught.value.code == "config-unknown-key"


@pytest.mark.parametrize("text", ["hub = 3\n", "hub = \n"])
def test_a_value_that_is_no_text_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "client.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_settings({}, path)
    assert caught.value.code == "config-invalid"


@pytest.mark.parametrize("text", ["", "mss_silo", "msp_a msp_b", "hello"])
def test_only_a_persons_token_counts_as_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_token(path)
    assert text == "" or text not in str(caught.value), "the refused content is not shown"
