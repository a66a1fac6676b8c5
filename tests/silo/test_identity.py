"""Joining a hub, and what is kept of it."""

import json
import os
from pathlib import Path

import pytest

from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.identity import check_hub_key, dial, enrol, gate, load_enrolment, load_identity, unenrol
from silo_node.state import Home
from silo_node.wire.enrolment import EnrolmentReceipt, EnrolmentRequest, HubInformation, SiloStatus
from silo_node.wire.envelope import key_fingerprint, new_key, public_key_text
from silo_node.wire.errors import BadInput, ConfigError, IntegrityError, MedSiloError, WireError
from tests.conftest import HubProcess
from tests.silo.peer import Answer, Exchange, peer
from tests.sites import Person

HUB_KEY = public_key_text(new_key().public_key())
OTHER_KEY = public_key_text(new_key().public_key())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "node").create()


def invite(hub: HubProcess, name: str) -> str:
    """Return a fresh one-time code of the real hub."""
    admin = Person(hub.url, hub.admin_token)
    body = json.dumps({"name": name, "organisation": f"{name} hospital"})
    return str(admin.do("POST", "/silos", body)["code"])


def join(hub: HubProcess, home: Home, code: str) -> str:
    """Enrol at the real hub; return the silo's id."""
    connection = Hub(hub.url, gate(home), NodeConfig())
    try:
        return enrol(home, connection, code).silo_id
    finally:
        connection.close()


def test_enrolling_makes_a_key_here_and_pins_the_hubs(hub: HubProcess, home: Home) -> None:
    """The key and the token are readable by their owner alone, and the hub shows the same fingerprint."""
    silo_id = join(hub, home, invite(hub, "Alder").lower())
    identity = load_identity(home)
    assert identity.silo_id == silo_id
    assert {path.stat().st_mode & 0o777 for path in home.identity.iterdir()} == {0o600}
    assert identity.token not in repr(identity)
    shown = Person(hub.url, hub.admin_token).do("GET", f"/silos/{silo_id}")
    assert shown["fingerprint"] == identity.enrolment.fingerprint
    connection = dial(home, NodeConfig(), identity)
    seen = connection.status()
    connection.close()
    assert (seen.silo_id, seen.state) == (silo_id, "pending")
    check_hub_key(identity.enrolment, seen)


def test_a_code_works_once(hub: HubProcess, home: Home, tmp_path: Path) -> None:
    """A second use is told apart from a wrong code, because somebody should ask who it was."""
    code = invite(hub, "Birch")
    join(hub, home, code)
    with pytest.raises(WireError) as caught:
        join(hub, Home(tmp_path / "thief").create(), code)
    assert caught.value.code == "enrolment-code-used"
    assert not (tmp_path / "thief" / "identity" / "token").exists()


@pytest.mark.parametrize("code", ["ABCD-EFGH-2345-6789", "", "not a code", "ABCD-EFGH-2345-678é"])
def test_a_wrong_code_leaves_no_identity_behind(hub: HubProcess, home: Home, code: str) -> None:
    """And the next, right one works."""
    with pytest.raises(MedSiloError) as caught:
        join(hub, home, code)
    assert caught.value.code == "enrolment-code-invalid"
    with pytest.raises(ConfigError) as missing:
        load_enrolment(home)
    assert missing.value.code == "not-enrolled"
    assert join(hub, home, invite(hub, f"Cedar {len(code)} {code[:3]}"))


def test_a_node_enrols_once(hub: HubProcess, home: Home) -> None:
    """A second enrolment would orphan the cohorts of the first."""
    join(hub, home, invite(hub, "Douglas"))
    before = load_identity(home)
    with pytest.raises(BadInput) as caught:
        join(hub, home, invite(hub, "Elm"))
    assert caught.value.code == "already-enrolled"
    assert load_identity(home).silo_id == before.silo_id


def answers(information_key: str, receipt_key: str, versions: tuple[int, ...] = (1,)) -> Answer:
    """Return the answers of a hub that shows these keys."""

    def answer(exchange: Exchange) -> None:
        if exchange.path.endswith("/hub"):
            exchange.say(
                HubInformation(
                    name="Hub",
                    version="0.1.0",
                    wire_versions=versions,
                    public_key=information_key,
                    development=False,
                )
            )
            return
        EnrolmentRequest.model_validate_json(exchange.received.body)
        exchange.say(
            EnrolmentReceipt(
                silo_id="silo-12345678",
                silo_name="Fir",
                token="mss_" + "a" * 43,
                hub_public_key=receipt_key,
                wire_version=1,
            )
        )

    return answer


def enrol_at(home: Home, answer: Answer) -> None:
    with peer(answer) as server:
        connection = Hub(server.url, gate(home), NodeConfig())
        try:
            enrol(home, connection, "ABCD-EFGH-2345-6789")
        finally:
            connection.close()


def test_a_hub_that_shows_two_keys_is_not_joined(home: Home) -> None:
    """Somebody stands between."""
    with pytest.raises(IntegrityError) as caught:
        enrol_at(home, answers(HUB_KEY, OTHER_KEY))
    assert caught.value.code == "hub-key-changed"
    assert not home.enrolment_file.exists()


def test_a_hub_that_speaks_no_common_version_is_told_before_the_code_is_used(home: Home) -> None:
    """The code stays good for after the upgrade."""
    with pytest.raises(WireError) as caught:
        enrol_at(home, answers(HUB_KEY, HUB_KEY, versions=(7, 8)))
    assert caught.value.code == "wire-version-unsupported"


def test_another_key_than_the_pinned_one_is_noticed(home: Home) -> None:
    """Every day, not only at enrolment."""
    enrol_at(home, answers(HUB_KEY, HUB_KEY))
    enrolment = load_enrolment(home)
    status = SiloStatus(silo_id="silo-12345678", silo_name="Fir", state="active", hub_public_key=OTHER_KEY)
    with pytest.raises(IntegrityError) as caught:
        check_hub_key(enrolment, status)
    assert caught.value.code == "hub-key-changed"


def test_a_key_or_token_that_others_may_read_is_not_used(home: Home) -> None:
    """The node says which command repairs it."""
    enrol_at(home, answers(HUB_KEY, HUB_KEY))
    for path in (home.key_file, home.token_file):
        path.chmod(0o640)
        with pytest.raises(ConfigError, match="chmod 600"):
            load_identity(home)
        path.chmod(0o600)
    load_identity(home)


def test_a_key_file_that_is_no_key_is_told_so(home: Home) -> None:
    """And an enrolment somebody edited."""
    enrol_at(home, answers(HUB_KEY, HUB_KEY))
    kept = home.key_file.read_bytes()
    home.key_file.write_text("nonsense")
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        load_identity(home)
    home.key_file.write_bytes(kept)
    home.enrolment_file.write_text('{"silo_id": "silo-12345678"}')
    with pytest.raises(ConfigError, match="by hand"):
        load_identity(home)


def test_leaving_forgets_the_hub_and_destroys_the_key(home: Home) -> None:
    """What was taken in and what was logged stays."""
    enrol_at(home, answers(HUB_KEY, HUB_KEY))
    lines = home.egress_log.read_bytes()
    unenrol(home)
    assert os.listdir(home.identity) == []
    assert home.egress_log.read_bytes() == lines
    enrol_at(home, answers(HUB_KEY, HUB_KEY))


def test_a_fingerprint_is_short_enough_to_read_out(home: Home) -> None:
    """Eight groups of four."""
    assert len(key_fingerprint(HUB_KEY).split()) == 8
