"""Running ``medsilo`` in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path


def medsilo(
    folder: Path, *arguments: str, hub: str | None = None, token_file: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command with a configuration folder and a working folder of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MEDSILO_")}
    environment |= {"XDG_CONFIG_HOME": str(folder / "config"), "OMP_NUM_THREADS": "1"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache")}
    environment |= {"MEDSILO_HUB": hub} if hub else {}
    environment |= {"MEDSILO_TOKEN_FILE": str(token_file)} if token_file else {}
    called = [sys.executable, "-m", "federation_hub.client.cli", *arguments]
    return subprocess.run(called, capture_output=True, text=True, timeout=300, env=environment, cwd=folder)
