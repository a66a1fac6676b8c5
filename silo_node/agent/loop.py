"""The loop: ask the hub for work, judge it, hand it to a lane, deliver what was released, wait, ask again.

The node dials out and nothing dials in. It survives a hub that is gone for as long as it likes, a killed process at any
moment, and any answer that is not what it should be.
"""

import fcntl
import json
import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from random import Random

from silo_node.agent.admission import Admission, sweep
from silo_node.agent.claims import Claim, LeaseKeeper
from silo_node.agent.consents import consider
from silo_node.agent.courier import Courier
from silo_node.agent.health import Pulse
from silo_node.agent.lanes import Lane
from silo_node.agent.masked import MaskedRounds
from silo_node.agent.node import Node, connection, pause_after, pauses
from silo_node.agent.runner import KINDS, Runner
from silo_node.agent.tasks import TaskBook
from silo_node.config import PollSettings
from silo_node.identity import check_hub_key
from silo_node.journal import Journal
from silo_node.outbox.box import Outbox
from silo_node.policy import load_policy
from silo_node.policy.hours import is_quiet
from silo_node.policy.schema import ResourceRules
from silo_node.sandbox.limits import MEGABYTE
from silo_node.state import Home
from silo_node.wire.errors import ConfigError, HubUnavailable, MedSiloError
from silo_node.wire.tasks import ClaimRequest

LOOK_SECONDS = 0.5
"""How often a waiting node looks whether a person has released something."""

REFUSED_SECONDS = 5.0
"""Pause after a no that may turn into a yes: a silo that is not approved yet, a disk that is full."""

ENDING_SECONDS = 30.0
COUNT_SECONDS = 30.0
LOCK_SECONDS = 1.0
"""A command that only looks whether a node runs holds the lock for a moment; that is waited for."""

_LOG = logging.getLogger("silo_node.agent")


class Agent:
    """One running node. :meth:`run` returns after :meth:`stop`."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._journal = Journal(node.home)
        self._book = TaskBook(self._journal)
        self._outbox = Outbox(self._journal)
        self._keeper = LeaseKeeper(
            lambda: connection(node), self._note_progress, lambda claim: self._admission.withdraw(claim)
        )
        self._courier = Courier(node.home, self._outbox, self._book, self._keeper)
        self._masking = MaskedRounds(node, self._book, self._outbox, self._keeper)
        # Only a check node of the hub's operator asks for checks.
        kinds = [kind for kind in KINDS if kind != "check" or node.config.check_node]
        self._runners = {kind: self._runner() for kind in kinds}
        self._lanes = {
            kind: Lane(kind, runner.run, self._wake.set, runner.idle) for kind, runner in self._runners.items()
        }
        self._admission = Admission(node, self._book, self._outbox, self._keeper, self._submit, self._stopping.is_set)
        self._hub = connection(node)
        self._seen = self._journal.version()
        self._pauses = self._fresh_pauses()
        self._greeted = False
        self._asked_until = 0.0
        self._counted, self._count_again = 0, 0.0
        self._pulse = Pulse(node.home)
        self._identity_stamp = _stamp(node.home)
        self.again = False
        """Whether the node ends only to begin anew, with another key."""

    def stop(self, *_: object) -> None:
        """Ask the node to end: running work is stopped where it can go on later."""
        self._stopping.set()
        self._wake.set()

    def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Work until stopped. ``ready`` is called once, when the node is about to ask for the first time."""
        self._keeper.start()
        for lane in self._lanes.values():
            lane.start()
        ready()
        self._pulse.beat(())
        self._pulse.started()
        try:
            sweep(self._node.home, self._outbox)
            self._outbox.sign_again(self._node.identity.key)
            self._admission.resume(self._hub)
            self._masking.resume(self._stopping.is_set)
            while not self._stopping.is_set():
                self._wait(self._turn())
        finally:
            self._end()

    def _turn(self) -> float:
        """Do one turn and return how long to wait for the next."""
        if _stamp(self._node.home) != self._identity_stamp:
            _LOG.info("another key: beginning anew")
            self.again = True
            self.stop()
            return 0.0
        try:
            pause = self._ask()
        except HubUnavailable as error:
            pause = pause_after(error, next(self._pauses), Random())  # noqa: S311  # jitter needs no secret
            asked = error.retry_after > 0
            self._asked_until = time.monotonic() + error.retry_after
            self._pulse.trouble("asked-to-wait" if asked else "hub-gone", error.code)
            words = "the hub asks to be left alone for a while" if asked else "the hub is not there"
            _LOG.warning(words, extra={"code": error.code, "retry_seconds": round(pause, 1)})
            return pause
        except MedSiloError as error:
            self._pulse.trouble("refused", error.code)
            _LOG.warning("the hub says no", extra={"code": error.code})
            pause = REFUSED_SECONDS
        except Exception:
            _LOG.exception("a turn failed in an unforeseen way")
            pause = REFUSED_SECONDS
        self._pauses = self._fresh_pauses()
        return pause

    def _ask(self) -> float:
        bounds = self._node.config.poll
        self._seen = self._journal.version()
        self._courier.deliver_ready(self._hub, wait=False)
        if self._masking.turn(self._hub):
            self._courier.deliver_ready(self._hub, wait=False)
            return min(self._seek(bounds), LOOK_SECONDS)
        return self._seek(bounds)

    def _seek(self, bounds: PollSettings) -> float:
        """Ask for work where there is room for it, and return how long to wait for the next question."""
        free = tuple(kind for kind, lane in self._lanes.items() if lane.free)
        if not free:
            return bounds.longest_seconds
        full = self._full()
        if full is not None:
            self._pulse.trouble("refused", full)
            _LOG.error("no task is taken", extra={"code": full})
            return REFUSED_SECONDS
        if is_quiet(resource_rules(self._node.home).quiet_hours, datetime.now().astimezone()):
            self._pulse.trouble("closed", "no task is taken in quiet hours")
            _LOG.info("no task is taken in quiet hours")
            return REFUSED_SECONDS
        self._greet()
        answer = self._hub.claim(ClaimRequest.model_validate({"kinds": free}))
        self._pulse.reached()
        for request in answer.consents:
            if consider(self._node.home, self._node.identity, self._journal, request) is not None:
                self._wake.set()
        if answer.task is not None:
            self._admission.claimed(self._hub, answer.task, answer.lease_seconds)
            return 0.0
        return min(max(answer.wait_seconds, bounds.shortest_seconds), bounds.longest_seconds)

    def _greet(self) -> None:
        """Look once, before the first question, whether the hub still shows the pinned key."""
        if not self._greeted:
            check_hub_key(self._node.identity.enrolment, self._hub.status())
            self._greeted = True

    def _submit(self, claim: Claim) -> None:
        self._lanes[claim.task.body.kind].submit(claim)

    def _note_progress(self, claim: Claim) -> None:
        self._book.progress(claim.task.task_id, claim.done, claim.total)

    def _wait(self, seconds: float) -> None:
        """Wait, but not past a finished task, a stop, or a change another process made to the journal."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._pulse.beat(tuple(sorted(claim.task.task_id for claim in self._keeper.kept())))
            woken = self._wake.wait(min(left, LOOK_SECONDS)) or self._journal.version() != self._seen
            if woken and (self._stopping.is_set() or time.monotonic() >= self._asked_until):
                break
            if woken:
                # Not before the hub has asked for; a set event would not be waited for at all.
                self._stopping.wait(min(left, LOOK_SECONDS))
        self._wake.clear()

    def _end(self) -> None:
        self._stopping.set()
        self._pulse.end("stopping")
        for lane in self._lanes.values():
            lane.close(ENDING_SECONDS)
        for runner in self._runners.values():
            runner.close()
        self._keeper.close()
        self._hub.close()
        self._masking.close()
        self._journal.close()
        self._pulse.end("stopped")

    def _runner(self) -> Runner:
        return Runner(self._node, self._journal, self._keeper, self._courier, self._book, self._outbox, self._masking)

    def _full(self) -> str | None:
        """Return the code of why there is no room for another task; None where there is."""
        home = self._node.home
        if shutil.disk_usage(home.path).free < self._node.config.limits.disk_free_mb * MEGABYTE:
            return "disk-full"
        return "quota-exceeded" if self._used() > resource_rules(home).disk_quota_mb * MEGABYTE else None

    def _used(self) -> int:
        """Return what work takes on the disk, counted anew every half a minute."""
        if time.monotonic() > self._count_again:
            self._counted = used_by_work(self._node.home)
            self._count_again = time.monotonic() + COUNT_SECONDS
        return self._counted

    def _fresh_pauses(self) -> Iterator[float]:
        return pauses(self._node.config.poll.backoff_seconds, Random())  # noqa: S311  # jitter needs no secret


def resource_rules(home: Home) -> ResourceRules:
    """Return the policy's rules for this machine; of a policy that is not valid, the defaults: each task says so."""
    try:
        return load_policy(home).resources
    except ConfigError:
        return ResourceRules()


def used_by_work(home: Home) -> int:
    """Return the bytes that strangers' models and their work take: bundles, scores, work in progress."""
    return sum(
        path.lstat().st_size
        for folder in (home.bundles, home.scores, home.scratch, home.outbox)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def _stamp(home: Home) -> int | None:
    """Return a number that changes when the node's identity does; None where it has none any more."""
    try:
        return home.enrolment_file.stat().st_mtime_ns
    except FileNotFoundError:
        return None


@contextmanager
def single_instance(home: Home) -> Iterator[None]:
    """Hold a home's lock inside the block; raises :class:`ConfigError` ``state-locked`` where a node runs on it."""
    with open(os.open(home.path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        while not _locked(file.fileno()):
            if time.monotonic() > deadline:
                raise ConfigError("state-locked", f"a node runs on {home.path}")
            time.sleep(0.05)
        yield


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def serve(node: Node, ready_file: Path | None = None) -> bool:
    """Run a node until SIGTERM or SIGINT; writes ``ready_file`` once it is about to ask for work.

    Returns whether it should begin anew, since its identity has changed.
    """
    with single_instance(node.home):
        agent = Agent(node)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, agent.stop)
        agent.run(lambda: _tell_ready(node, ready_file))
        return agent.again


def _tell_ready(node: Node, ready_file: Path | None) -> None:
    _LOG.info("started", extra={"pid": os.getpid()})
    if ready_file is not None:
        unfinished = ready_file.with_name(f".{ready_file.name}.new")
        unfinished.write_text(json.dumps({"pid": os.getpid(), "silo_id": node.identity.silo_id}))
        unfinished.replace(ready_file)
