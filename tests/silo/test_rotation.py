"""Exchanging the site's key and token, with the real hub and a node that is running."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from silo_node.agent.consents import agreed_plan
from silo_node.agent.loop import Agent
from silo_node.agent.node import Node
from silo_node.config import load_config
from silo_node.hub import Hub
from silo_node.identity import dial, enrol, gate, load_enrolment, load_identity, rotate
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.sandbox import choose
from silo_node.state import Home, write_private
from silo_node.wire.enrolment import KeyRotation
from silo_node.wire.envelope import key_id, key_to_pem, new_key, public_key_text, seal
from silo_node.wire.errors import HubUnavailable, WireError
from tests.conftest import HubProcess
from tests.silo.furnished import furnish
from tests.silo.test_agent import wait_for
from tests.sites import Person


@pytest.fixture
def home(hub: HubProcess, tmp_path: Path) -> Home:
    """An enrolled and active site of the real hub."""
    home, admin = Home(tmp_path / "node").create(), Person(hub.url, hub.admin_token)
    name = f"Rotating {tmp_path.name}"
    code = admin.do("POST", "/silos", json.dumps({"name": name, "organisation": "Rotation hospital"}))["code"]
    stranger = Hub(hub.url, gate(home), load_config(home))
    enrolment = enrol(home, stranger, str(code))
    stranger.close()
    admin.do("POST", f"/silos/{enrolment.silo_id}/approve", json.dumps({"fingerprint": enrolment.fingerprint}))
    return home


def connected(home: Home) -> Hub:
    return dial(home, load_config(home), load_identity(home))


def test_the_command_exchanges_key_and_token(home: Home) -> None:
    """Both sides go on at once; nothing of the old key is left here."""
    before = load_identity(home)
    called = [sys.executable, "-m", "silo_node.cli", "--home", str(home.path), "rotate-key", "--json"]
    said = json.loads(subprocess.run(called, check=True, capture_output=True, text=True).stdout)
    after = load_identity(home)
    assert said["fingerprint"] == after.enrolment.fingerprint != before.enrolment.fingerprint
    assert after.token != before.token
    assert not home.next_key_file.exists()
    hub = connected(home)
    assert hub.status().state == "active"
    hub.close()


def test_a_rotation_whose_answer_was_lost_goes_on_with_the_same_key(home: Home) -> None:
    """The hub has taken the key, the node was killed before it knew."""
    before, hub = load_identity(home), connected(home)
    kept = {path: path.read_bytes() for path in (home.key_file, home.token_file, home.enrolment_file)}
    first = rotate(home, hub, before)
    new = home.key_file.read_bytes()
    for path, content in kept.items():
        path.write_bytes(content)
    home.next_key_file.touch(0o600)
    home.next_key_file.write_bytes(new)
    second = rotate(home, hub, load_identity(home))
    hub.close()
    assert second.public_key == first.public_key == load_enrolment(home).public_key
    assert not home.next_key_file.exists()


def test_a_running_node_takes_the_new_key_up(home: Home) -> None:
    """It ends its turn, and says that it must begin anew."""
    node = Node(home, load_config(home), load_identity(home), choose())
    agent = Agent(node)
    thread = threading.Thread(target=agent.run, daemon=True)
    thread.start()
    wait_for(home.health_file.exists)
    hub = connected(home)
    rotate(home, hub, load_identity(home))
    hub.close()
    thread.join(30)
    assert not thread.is_alive()
    assert agent.again


def test_what_waits_is_signed_again_with_the_new_key(tmp_path: Path) -> None:
    """Statements may wait for a person longer than two keys overlap; and an answer to a study stays an answer."""
    home, _ = furnish(tmp_path)
    identity, journal = load_identity(home), Journal(home)
    outbox = Outbox(journal)
    answer = next(item for item in outbox.items() if item.kind == "association-decision")
    outbox.release(answer.item_id, "m.okafor")
    before = {item.item_id: item.envelope.payload for item in outbox.items()}
    key = new_site_key(home)
    outbox.sign_again(key)
    after = load_identity(home)
    assert {item.item_id: item.envelope.payload for item in outbox.items()} == before
    for item in outbox.items():
        waits = item.state != "acknowledged"
        fits = after.enrolment.public_key if waits else identity.enrolment.public_key
        keyids = {signature.keyid for signature in item.envelope.signatures}
        assert keyids == {key_id(fits)}
    assert agreed_plan(journal, after, "study-7h2j5k8m") is not None
    journal.close()


def new_site_key(home: Home) -> Ed25519PrivateKey:
    """Put another key in the place of a site's own."""
    key = new_key()
    write_private(home.key_file, key_to_pem(key))
    enrolment = load_enrolment(home).model_copy(update={"public_key": public_key_text(key.public_key())})
    write_private(home.enrolment_file, enrolment.model_dump_json().encode())
    return key


def test_a_rotation_that_does_not_reach_the_hub_changes_nothing_here(home: Home) -> None:
    """The site goes on with what it has."""
    identity = load_identity(home)
    gone = Hub("http://127.0.0.1:9", gate(home), load_config(home), identity.token, identity.key)
    with pytest.raises(HubUnavailable):
        rotate(home, gone, identity)
    gone.close()
    assert load_identity(home).enrolment == identity.enrolment
    assert load_identity(home).token == identity.token


def test_a_statement_without_the_proof_is_refused(home: Home) -> None:
    """A token alone, stolen from a proxy's log, hands nothing in."""
    identity = load_identity(home)
    thief = Hub(identity.enrolment.hub_url, gate(home), load_config(home), identity.token)
    wish = KeyRotation(silo_id=identity.silo_id, public_key=identity.enrolment.public_key)
    with pytest.raises(WireError, match="proof-missing"):
        thief.rotate(seal(wish, identity.key))
    thief.close()
