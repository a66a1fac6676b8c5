"""What leaves: every byte in a chained log before it goes, every statement once, and nothing a person has rejected."""

import json
import os
import pwd
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from silo_node.config import NodeConfig
from silo_node.hub import Hub
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.outbox.delivery import deliver, outcome
from silo_node.outbox.egress_log import START, TORN, EgressLog
from silo_node.outbox.gate import JSON, Cleared, Gate
from silo_node.outbox.person import current_person
from silo_node.outbox.states import NEXT, ItemState, step
from silo_node.outbox.words import document, words
from silo_node.policy import Decision
from silo_node.state import Home
from silo_node.wire.base import Message
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.cohorts import AssociationDecision
from silo_node.wire.digests import digest_bytes
from silo_node.wire.envelope import Envelope, new_key, seal
from silo_node.wire.errors import BadInput, HubUnavailable, IntegrityError, WireError
from silo_node.wire.studies import RoundReport, SiteScore
from silo_node.wire.tasks import Decline, Heartbeat, ResultAnswer
from silo_node.wire.transfers import BlobReference, UploadStatus
from tests.silo.peer import Answer, Exchange, peer

KEY = new_key()
AUTO, HOLD = Decision("allow", None, "release.updates"), Decision("hold", None, "release.updates")
TWO = Decision("hold", None, "release.updates", persons=2)
DIGEST = "blake3:" + "c" * 64


def write(log: EgressLog, count: int) -> None:
    """Write some lines."""
    for number in range(count):
        log.append(method="POST", path="/tasks/claim", kind="ClaimRequest", digest=DIGEST, size=number)


@pytest.fixture
def log(tmp_path: Path) -> EgressLog:
    return EgressLog(tmp_path / "egress.jsonl")


def test_the_log_says_what_left_when_and_where_to(log: EgressLog, tmp_path: Path) -> None:
    """Each line names the one before it; the file is its owner's alone."""
    clocked = EgressLog(tmp_path / "clocked.jsonl", now=lambda: datetime(2026, 5, 3, tzinfo=UTC))
    write(clocked, 3)
    entries = list(clocked.entries())
    assert [entry.number for entry in entries] == [0, 1, 2]
    assert entries[0].previous == START
    assert [entry.previous for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert entries[0].departure.time == "2026-05-03T00:00:00+00:00"
    assert clocked.verify() == (3, entries[-1].hash)
    assert (tmp_path / "clocked.jsonl").stat().st_mode & 0o777 == 0o600
    assert log.verify() == (0, START)


def changed(line: str) -> str:
    value = json.loads(line)
    return json.dumps({**value, "size": value["size"] + 1}, separators=(",", ":"))


@pytest.mark.parametrize(
    "tamper",
    [
        lambda lines: [*lines[:2], changed(lines[2]), *lines[3:]],
        lambda lines: [*lines[:2], *lines[3:]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: [*lines[:3], lines[2], *lines[3:]],
        lambda lines: lines[1:],
        lambda lines: [*lines[:2], "{}", *lines[3:]],
        lambda lines: [*lines[:2], "not a line", *lines[3:]],
        lambda lines: [*lines[:2], lines[2].replace('"number":2', '"number":2,"number":2'), *lines[3:]],
    ],
)
def test_changing_dropping_moving_or_adding_a_line_breaks_the_chain(
    log: EgressLog, tmp_path: Path, tamper: Callable[[list[str]], list[str]]
) -> None:
    """Whoever changes the log must change every line after it, and the end is in other hands."""
    write(log, 6)
    path = tmp_path / "egress.jsonl"
    path.write_text("".join(f"{line}\n" for line in tamper(path.read_text().splitlines())))
    with pytest.raises(IntegrityError) as caught:
        log.verify()
    assert caught.value.code == "log-broken"


def test_a_line_torn_by_a_power_cut_is_replaced_by_a_note(log: EgressLog, tmp_path: Path) -> None:
    """It was never whole, so what it announced never left; that it was there stays visible."""
    write(log, 2)
    path = tmp_path / "egress.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"number":2,"time":"2026')
    write(log, 1)
    kinds = [entry.departure.kind for entry in log.entries()]
    assert kinds == ["ClaimRequest", "ClaimRequest", TORN, "ClaimRequest"]
    assert log.verify()[0] == 4


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    """The node and its commands send at the same time."""
    path = tmp_path / "egress.jsonl"
    program = f"""
from pathlib import Path
from silo_node.outbox.egress_log import EgressLog
log = EgressLog(Path({str(path)!r}))
for number in range(40):
    log.append(method="POST", path="/tasks/claim", kind="ClaimRequest", digest={DIGEST!r}, size=number)
"""
    processes = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert EgressLog(path).verify()[0] == 120


def test_the_gate_logs_exactly_the_bytes_it_clears(log: EgressLog) -> None:
    """Canonical JSON, so that a digest is a digest."""
    message = Heartbeat(state="running", done=3, total=9)
    cleared = Gate(log).message(message, method="POST", path="/tasks/{id}/heartbeat", subject="task-12345678")
    assert cleared.body == canonical_bytes(message)
    assert cleared.content_type == JSON
    (entry,) = log.entries()
    assert entry.departure.digest == digest_bytes(cleared.body)
    assert (entry.departure.kind, entry.departure.size) == ("Heartbeat", len(cleared.body))
    part = Gate(log).part(
        memoryview(b"weights"), purpose="update", method="PATCH", path="/uploads/{id}", subject="upl-1", offset=7
    )
    assert bytes(part.body) == b"weights"
    assert [entry.departure.kind for entry in log.entries()] == ["Heartbeat", "bytes:update"]


class Leak(Message):
    """A message somebody might add without declaring it on the wire."""

    patient: str


def test_what_is_not_declared_on_the_wire_does_not_pass(log: EgressLog) -> None:
    """Neither another class, nor a declared one with a field smuggled in, nor bytes without a purpose."""
    gate = Gate(log)
    smuggled = Heartbeat.model_construct(state="running", done=0, total=0, patient="Erika Musterfrau")
    for message in (Leak(patient="Erika Musterfrau"), {"patient": "Erika Musterfrau"}, "Erika", smuggled):
        try:
            cleared = gate.message(message, method="POST", path="/")  # type: ignore[arg-type]
        except (WireError, ValueError):
            continue
        assert b"Erika" not in bytes(cleared.body)
    with pytest.raises(WireError):
        gate.part(memoryview(b""), purpose="images", method="PATCH", path="/", subject="", offset=0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Cleared(b"anything", JSON, object())


def test_the_states_never_lead_from_a_no_to_sent() -> None:
    """Whatever way is taken from *rejected*."""
    reached, ways = set[ItemState](), list(NEXT["rejected"])
    while ways:
        state = ways.pop()
        if state not in reached:
            reached.add(state)
            ways += NEXT[state]
    assert reached == {"declined"}
    with pytest.raises(BadInput):
        step("held", "sent")


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    journal = Journal(Home(tmp_path).create())
    yield Outbox(journal)
    journal.close()


def report(update: BlobReference | None = None) -> Envelope:
    """Return a round's signed report."""
    message = RoundReport(
        task_id="task-12345678",
        study_id="study-12345678",
        silo_id="silo-12345678",
        round=2,
        plan_digest=DIGEST,
        base=DIGEST,
        cohort="keyed-blake3:" + "d" * 64,
        update=update,
        score=SiteScore(metric="auroc", value=0.75, cases=20),
        train_seconds=1.0,
    )
    return seal(message, KEY)


def test_a_held_statement_waits_for_a_person_and_a_released_one_for_the_hub(outbox: Outbox) -> None:
    """Who released it is noted."""
    held = outbox.add("round-report", "task-12345678", report(), HOLD)
    assert held.state == "held"
    with pytest.raises(BadInput):
        outbox.sending(held.item_id)
    released = outbox.release(held.item_id, by="steward")
    assert (released.state, released.released_by) == ("released", "steward")
    automatic = outbox.add("round-report", "task-87654321", report(), AUTO)
    assert (automatic.state, automatic.released_by) == ("released", "policy release.updates")
    with pytest.raises(BadInput):
        outbox.reject(automatic.item_id)
    with pytest.raises(BadInput) as caught:
        outbox.release("out-nothing")
    assert caught.value.code == "not-found"


def test_where_the_policy_wants_two_persons_one_is_not_enough(outbox: Outbox) -> None:
    """The rule stands with the item, so that no page or command can forget it; the same person twice is one person."""
    held = outbox.add("round-report", "task-12345678", report(), TWO)
    first = outbox.release(held.item_id, by="ada")
    assert (first.state, first.approvals) == ("held", ("ada",))
    assert "ada has released it; 1 more person(s) must." in words(first)
    with pytest.raises(BadInput) as caught:
        outbox.release(held.item_id, by="ada")
    assert caught.value.code == "same-person"
    with pytest.raises(BadInput):
        outbox.sending(held.item_id)
    second = outbox.release(held.item_id, by="bob")
    assert (second.state, second.released_by) == ("released", "ada, bob")


def test_one_person_can_keep_here_what_two_must_release(outbox: Outbox) -> None:
    """A no needs nobody's agreement."""
    held = outbox.add("round-report", "task-12345678", report(), TWO)
    outbox.release(held.item_id, by="ada")
    assert outbox.reject(held.item_id, by="bob").state == "rejected"


def test_a_yes_is_to_the_very_bytes_that_were_shown(outbox: Outbox) -> None:
    """A statement that was computed anew while it waited needs both persons again."""
    held = outbox.add("round-report", "task-12345678", report(), TWO)
    outbox.release(held.item_id, by="ada")
    other = BlobReference(digest="blake3:" + "e" * 64, size=1)
    replaced = outbox.add("round-report", "task-12345678", report(other), TWO)
    assert (replaced.item_id, replaced.approvals) == (held.item_id, ())
    assert outbox.release(held.item_id, by="bob").state == "held"


def test_who_releases_is_an_account_and_not_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody can set LOGNAME; whoever came through sudo is the account they came from."""
    account = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setenv("LOGNAME", "somebody-else")
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert current_person() == account
    monkeypatch.setenv("SUDO_UID", str(pwd.getpwnam("nobody").pw_uid))
    assert current_person() == "nobody"


def test_a_thing_computed_twice_is_there_once(outbox: Outbox) -> None:
    """While it waits the newer replaces the older; once it was let go, or rejected, it stays what it was."""
    first = outbox.add("round-report", "task-12345678", report(), HOLD)
    second = outbox.add("round-report", "task-12345678", report(), HOLD)
    assert first.item_id == second.item_id
    assert len(outbox.items()) == 1
    outbox.reject(first.item_id, by="steward")
    assert outbox.add("round-report", "task-12345678", report(), AUTO).state == "rejected"


def test_a_person_sees_every_field_that_would_leave(outbox: Outbox) -> None:
    """In words, and as the exact signed content."""
    item = outbox.add("round-report", "task-12345678", report(), HOLD)
    text = words(item)
    payload = item.envelope.payload_bytes()
    shown = ("score.value = 0.75", "round = 2", "train_seconds", "silo_id", "would leave", digest_bytes(payload))
    for field in shown:
        assert field in text
    assert document(item)["content"] == json.loads(item.envelope.payload_bytes())


def delivered(outbox: Outbox, item_id: str, tmp_path: Path, answer: Answer) -> list[str]:
    """Deliver one item to a server that answers so; return the paths it was asked."""
    with peer(answer) as server:
        hub = Hub(server.url, Gate(EgressLog(tmp_path / "egress.jsonl")), NodeConfig(), "mss_" + "t" * 40)
        try:
            deliver(outbox.item(item_id), hub, outbox)
        finally:
            hub.close()
        return [f"{one.method} {one.path.removeprefix('/api/v1')}" for one in server.received]


def test_a_statement_that_may_have_arrived_is_sent_again_and_counts_once(outbox: Outbox, tmp_path: Path) -> None:
    """The hub that has it already says so, and that is an answer."""
    item = outbox.add("round-report", "task-12345678", report(), AUTO)
    with pytest.raises(HubUnavailable):
        delivered(outbox, item.item_id, tmp_path, lambda exchange: exchange.hang_up())
    assert outbox.item(item.item_id).state == "sent"
    delivered(outbox, item.item_id, tmp_path, lambda exchange: exchange.refuse("task-done"))
    found = outbox.item(item.item_id)
    assert (found.state, outcome(found)) == ("acknowledged", "accepted")


def test_what_the_hub_refuses_is_noted_and_not_sent_for_ever(outbox: Outbox, tmp_path: Path) -> None:
    """Where the refusal is about the statement; one about the silo's state is tried again later."""
    item = outbox.add("round-report", "task-12345678", report(), AUTO)
    with pytest.raises(WireError):
        delivered(outbox, item.item_id, tmp_path, lambda exchange: exchange.refuse("silo-not-active"))
    assert outbox.item(item.item_id).state == "sent"
    delivered(outbox, item.item_id, tmp_path, lambda exchange: exchange.refuse("update-norm"))
    found = outbox.item(item.item_id)
    assert (found.state, outcome(found)) == ("acknowledged", "refused")


def test_an_update_leaves_with_its_report_and_is_gone_afterwards(outbox: Outbox, tmp_path: Path) -> None:
    """First the bytes, then the statement that names them."""
    path = tmp_path / "update"
    path.write_bytes(b"weights")
    blob = BlobReference(digest=digest_bytes(b"weights"), size=7)

    def answer(exchange: Exchange) -> None:
        if exchange.path.endswith("/result"):
            exchange.say(ResultAnswer(state="accepted"))
        else:
            done = exchange.command == "PATCH"
            exchange.say(UploadStatus(upload_id="upl-12345678", offset=7 * done, chunk_bytes=100, complete=done))

    item = outbox.add("round-report", "task-12345678", report(blob), AUTO, path)
    asked = delivered(outbox, item.item_id, tmp_path, answer)
    assert asked == ["POST /uploads", "PATCH /uploads/upl-12345678", "POST /tasks/task-12345678/result"]
    assert not path.exists()


def test_of_a_rejected_result_the_hub_hears_a_code_and_nothing_else(outbox: Outbox, tmp_path: Path) -> None:
    """And a rejected yes to a study is a signed no."""
    item = outbox.add("round-report", "task-12345678", report(), HOLD)
    outbox.reject(item.item_id, by="steward")
    bodies: list[bytes] = []

    def answer(exchange: Exchange) -> None:
        bodies.append(exchange.received.body)
        exchange.send_response(204)
        exchange.end_headers()

    assert delivered(outbox, item.item_id, tmp_path, answer) == ["POST /tasks/task-12345678/decline"]
    assert bodies == [canonical_bytes(Decline(code="policy-refuses-release"))]
    assert outbox.item(item.item_id).state == "declined"


def test_a_released_no_takes_the_place_of_the_yes_that_waited(outbox: Outbox) -> None:
    """Nothing of the yes is left."""
    yes, no = (
        seal(AssociationDecision(association_id="assoc-12345678", silo_id="silo-12345678", approve=approve), KEY)
        for approve in (True, False)
    )
    item = outbox.add("association-decision", "assoc-12345678", yes, HOLD)
    assert outbox.release(item.item_id, by="steward", instead=no).envelope == no
