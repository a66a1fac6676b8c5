"""What a process has used, asked of the kernel."""

from pathlib import Path

import psutil


def peak_memory(pid: int) -> float:
    """Return the most memory a process ever had resident, in MB; unlike ``getrusage``, without its parent's."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def cpu_seconds(pid: int) -> float:
    """Return the processor time a process has used."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)
