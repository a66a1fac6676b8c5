"""``medsilo login`` in a process of its own, approved in a browser's place."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import requests

from tests.client.commands import medsilo
from tests.client.conftest import People

_SAME_SITE = {"Sec-Fetch-Site": "same-origin"}


def signed_in(people: People, name: str) -> requests.Session:
    """Invite a person by the operator's command and set a password in a browser's place."""
    command = ("person", "invite", name, "--role", "researcher", "--organisation", "University", "--json")
    code = json.loads(people.process.command(*command))["code"]
    browser = requests.Session()
    password = "four random words indeed"
    form = {"code": code, "password": password, "again": password}
    answer = browser.post(f"{people.url}/join", data=form, headers=_SAME_SITE, timeout=60)
    assert answer.status_code == 200, answer.text
    return browser


def test_login_waits_for_an_approval_and_keeps_the_token(people: People, tmp_path: Path) -> None:
    """The code is typed in elsewhere; the token lies where only its owner reads it, and later commands use it."""
    browser = signed_in(people, "Grace")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDSILO_")}
    environment |= {"XDG_CONFIG_HOME": str(tmp_path / "config")}
    called = [sys.executable, "-m", "federation_hub.client.cli", "login", "--hub", people.url, "--json"]
    with subprocess.Popen(called, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as login:
        assert login.stderr is not None
        code = next(found[1] for line in login.stderr if (found := re.search(r"type the code (\S+)", line)))
        form = {"code": code, "approve": "true"}
        browser.post(f"{people.url}/device", data=form, headers=_SAME_SITE, timeout=60).raise_for_status()
        told, _ = login.communicate(timeout=120)
    assert json.loads(told)["person"]["name"] == "Grace"
    token = tmp_path / "config" / "medsilo" / "token"
    assert token.stat().st_mode & 0o777 == 0o600
    assert token.read_text().strip() not in told
    assert medsilo(tmp_path, "model", "status").returncode == 0
