"""What a jail is granted: of the machine's limits and the site's own the stricter each."""

from pathlib import Path

from silo_node.config import LimitSettings, NodeConfig
from silo_node.policy.schema import ResourceRules
from silo_node.sandbox import Limits
from silo_node.sandbox.bubblewrap import Bubblewrap
from silo_node.sandbox.container import Container
from silo_node.sandbox.grant import granted, graphics_devices

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


def test_a_granted_card_is_all_that_is_added() -> None:
    """The rest of the command line is the same to the word."""
    card = ("/dev/nvidia0",)
    for driver in (Bubblewrap("bwrap", "prlimit", user_namespace=True), Container("podman", IMAGE)):
        name = () if isinstance(driver, Bubblewrap) else ("name",)
        plain = driver.command(*name, ["true"], [], Limits())  # type: ignore[call-arg, arg-type]
        shown = driver.command(*name, ["true"], [], Limits(devices=card))  # type: ignore[call-arg, arg-type]
        assert [word for word in shown if word not in plain] in (["--dev-bind", *card, *card], ["--device", *card])
