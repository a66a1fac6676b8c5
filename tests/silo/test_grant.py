"""What a jail is granted: of the machine's limits and the site's own the stricter each."""

import ast
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from silo_node.config import LimitSettings, NodeConfig, SandboxSettings
from silo_node.policy.schema import ResourceRules
from silo_node.sandbox import Bind, Jail, Limits, choose
from silo_node.sandbox.bubblewrap import Bubblewrap
from silo_node.sandbox.container import Container
from silo_node.sandbox.grant import granted, graphics_devices
from silo_node.sandbox.probes import run

IMAGE = "worker@sha256:" + "a" * 64


def test_the_stricter_of_the_two_files_counts() -> None:
    """Neither file can widen the other."""
    config = NodeConfig(threads=4, limits=LimitSettings(memory_mb=8000, processes=16))
    plain = granted(config, 2)
    assert (plain.wall_seconds, plain.memory_mb, plain.threads, plain.processes) == (120, 8000, 4, 16)
    strict = granted(config, 2, ResourceRules(memory_mb=1000, threads=2))
    assert (strict.memory_mb, strict.threads) == (1000, 2)
    loose = granted(config, 2, ResourceRules(memory_mb=64_000, threads=32))
    assert (loose.memory_mb, loose.threads) == (8000, 4)


def test_no_card_is_shown_unless_the_policy_grants_a_share_and_only_to_training(tmp_path: Path) -> None:
    """By default a jail has no device but the harmless ones."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "nvidia-caps", "sda"):
        (tmp_path / name).touch()
    found = [Path(device).name for device in graphics_devices(tmp_path)]
    assert found == ["nvidia-uvm", "nvidia0", "nvidia1", "nvidiactl"]
    config = NodeConfig()
    assert granted(config, 1, ResourceRules(), training=True).devices == ()
    assert granted(config, 1, ResourceRules(gpu_share=0.5)).devices == ()
    assert granted(config, 1, ResourceRules(gpu_share=0.5), training=True).devices == graphics_devices()


def test_one_card_of_several_can_be_named_and_nothing_but_a_card() -> None:
    """By the machine's own people, in ``silo.toml``; a disk or a path that leads elsewhere is no setting."""
    for device in ("/dev/sda", "/dev/mem", "/dev/nvidia0/../sda", "/dev/dri/../mem", "/etc/passwd", "/dev/kvm"):
        with pytest.raises(ValueError, match="pattern"):
            SandboxSettings(graphics=(device,))
    card = SandboxSettings(graphics=("/dev/nvidia1", "/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/dri/renderD128"))
    # What is named and not there is not shown: a jail with a device that is missing would not start.
    there = tuple(name for name in card.graphics or () if Path(name).is_char_device())
    assert granted(NodeConfig(sandbox=card), 1, ResourceRules(gpu_share=0.5), training=True).devices == there
    none = NodeConfig(sandbox=SandboxSettings(graphics=()))
    assert granted(none, 1, ResourceRules(gpu_share=0.5), training=True).devices == ()


@pytest.mark.skipif(not Path("/dev/fuse").is_char_device(), reason="this machine has no device to show a jail")
def test_a_jail_with_a_device_has_that_one_more_and_nothing_else() -> None:
    """A real character device stands for a card's; none of the probes gets out beside it."""
    program = "import os, stat\nhere = os.scandir('/dev')\n"
    program += "print(sorted(one.name for one in here if stat.S_ISCHR(one.stat(follow_symlinks=False).st_mode)))"

    def devices(limits: Limits) -> set[str]:
        jail = choose().start([sys.executable, "-c", program], [], limits)
        jail.close_input()
        found: set[str] = set(ast.literal_eval(b"".join(jail.lines()).decode()))
        assert jail.wait(60).well
        return found

    plain, shown = devices(Limits()), devices(Limits(devices=("/dev/fuse",)))
    assert shown - plain == {"fuse"}
    assert plain <= {"console", "full", "null", "ptmx", "random", "tty", "urandom", "zero"}
    assert [one.name for one in run(_WithDevice()) if not one.held] == []


class _WithDevice:
    """The real jail, with a device beside the harmless ones."""

    jailed = True

    def start(self, argv: Sequence[str], binds: Sequence[Bind], limits: Limits, *, log: Path | None = None) -> Jail:
        return choose().start(list(argv), list(binds), replace(limits, devices=("/dev/fuse",)))


def test_a_granted_card_is_all_that_is_added() -> None:
    """The rest of the command line is the same to the word."""
    card = ("/dev/nvidia0",)
    for driver in (Bubblewrap("bwrap", "prlimit", user_namespace=True), Container("podman", IMAGE)):
        name = () if isinstance(driver, Bubblewrap) else ("name",)
        plain = driver.command(*name, ["true"], [], Limits())  # type: ignore[call-arg, arg-type]
        shown = driver.command(*name, ["true"], [], Limits(devices=card))  # type: ignore[call-arg, arg-type]
        assert [word for word in shown if word not in plain] in (["--dev-bind", *card, *card], ["--device", *card])
