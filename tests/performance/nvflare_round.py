"""The round of ``round_cost.py`` on NVIDIA FLARE: its own POC mode (real processes, mutual TLS) and NumPy recipe.

Run by ``round_cost.py --peer nvflare`` with the interpreter that ``NVFLARE_PYTHON`` names, by default this one, because
FLARE pins versions of its own. It imports nothing of MedSilo and prints one JSON object. The model is one array of the
asked size; the client sends back what it received.
"""

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from threading import Event, Thread

CLIENT = """
import sys, time
import nvflare.client as flare

flare.init()
while flare.is_running():
    model = flare.receive()
    if model is None:
        break
    with open(sys.argv[1], "a") as log:
        log.write(f"{model.current_round} {time.time()}\\n")
    flare.send(flare.FLModel(params=model.params, meta={"NUM_STEPS_CURRENT_ROUND": 1}))
"""
SERVER_MARK = "server"


def main() -> None:
    """Run a job in POC mode and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--mb", type=float, required=True)
    parser.add_argument("--silos", type=int, required=True)
    parser.add_argument("--rounds", type=int, required=True)
    arguments = parser.parse_args()
    os.environ["NVFLARE_POC_WORKSPACE"] = str(arguments.folder / "poc")
    print(json.dumps(run(arguments.folder, arguments.mb, arguments.silos, arguments.rounds)))


def run(folder: Path, megabytes: float, silos: int, rounds: int) -> dict[str, object]:
    """Run one round more than asked, since a round is timed from its first receipt to that of the next."""
    import numpy as np
    from nvflare.app_common.np.recipes.fedavg import NumpyFedAvgRecipe
    from nvflare.recipe.poc_env import PocEnv

    receipts, script, start = folder / "receipts.txt", folder / "client.py", folder / "start.npy"
    script.write_text(CLIENT)
    values = max(1000, int(megabytes * 1e6 / 4))
    np.save(start, np.random.default_rng(0).standard_normal((1000, values // 1000)).astype(np.float32))
    recipe = NumpyFedAvgRecipe(
        name="round-cost",
        initial_ckpt=str(start),
        min_clients=silos,
        num_rounds=rounds + 1,
        train_script=str(script),
        train_args=str(receipts),
    )
    environment = PocEnv(num_clients=silos, extra={"login_timeout": 120})
    watch = ServerWatch(folder / "poc")
    watch.start()
    try:
        job = recipe.execute(environment)
        if job.get_result(timeout=3600, clean_up=False) is None:
            sys.exit("the job did not end well; see the logs in the POC workspace")
    finally:
        watch.stop()
        environment.stop(clean_up=True)
        shutil.rmtree(folder / "poc", ignore_errors=True)
    first: dict[int, float] = {}
    for line in receipts.read_text().splitlines():
        number, moment = line.split()
        first[int(number)] = min(first.get(int(number), float("inf")), float(moment))
    moments = [first[number] for number in sorted(first)]
    seconds = [after - before for before, after in zip(moments, moments[1:])]  # noqa: B905, RUF007
    return {"seconds": seconds, "peak_memory_mb": watch.peak / 1e6, "hub_cpu_a_round": watch.cpu / (rounds + 1)}


class ServerWatch:
    """The most memory the server's processes had together, and their processor time, sampled every 50 ms."""

    def __init__(self, workspace: Path) -> None:
        self.peak = 0.0
        self.cpu = 0.0
        self._server = f"{workspace.name}/"
        self._stopping = Event()
        self._thread = Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        import psutil

        while not self._stopping.wait(0.05):
            memory = cpu = 0.0
            for process in psutil.process_iter():
                try:
                    words = " ".join(process.cmdline())
                    if self._server in words and "/server" in words:
                        memory += process.memory_info().rss
                        times = process.cpu_times()
                        cpu += times.user + times.system
                except psutil.Error:
                    continue
            self.peak, self.cpu = max(self.peak, memory), max(self.cpu, cpu)


if __name__ == "__main__":
    started = time.monotonic()
    main()
