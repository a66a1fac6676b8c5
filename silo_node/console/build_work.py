"""The process that builds a cohort for the console: ``python -m silo_node.console.build_work HOME``.

It does what ``silo-node cohort build`` does, and writes how far it is where the console's page reads it.
"""

import logging
import sys
import time
from pathlib import Path

from silo_node.benchmarks import fetch_benchmark, fetch_latest_benchmark, known_benchmark
from silo_node.config import load_config
from silo_node.console.builds import Build, save
from silo_node.identity import dial, load_identity
from silo_node.reports.building import build_with_report
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition, BenchmarkReference
from silo_node.wire.errors import MedSiloError

_LOG = logging.getLogger("silo_node.console.build")
_PROGRESS_SECONDS = 0.5


def run(home: Home, build: Build) -> Build:
    """Build what was asked for and return how it ended; never raises."""
    try:
        return build.model_copy(update={"state": "built", "cohort_id": _build(home, build)})
    except MedSiloError as error:
        return build.model_copy(update={"state": "refused", "code": error.code, "detail": error.detail})
    except Exception:
        # Whatever it was, the page must say that it ended. The trace stays in this machine's log.
        _LOG.exception("the build failed")
        return build.model_copy(update={"state": "refused", "code": "work-failed", "detail": "see console-build.log"})
    finally:
        home.console_labels.unlink(missing_ok=True)


def _build(home: Home, build: Build) -> str:
    last = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > _PROGRESS_SECONDS:
            last = time.monotonic()
            save(home, build.model_copy(update={"done": done, "total": total}))

    built, _ = build_with_report(
        home,
        load_config(home),
        _definition(home, build),
        build.query,
        progress,
        collection=build.collection,
        labels=home.console_labels if build.labels else None,
    )
    return built.cohort.cohort_id


def _definition(home: Home, build: Build) -> BenchmarkDefinition:
    if build.definition is not None and build.version is not None:
        kept = BenchmarkReference(name=build.benchmark, version=build.version, digest=build.definition)
        return known_benchmark(home, kept)
    hub = dial(home, load_config(home), load_identity(home))
    try:
        if build.version is None:
            return fetch_latest_benchmark(home, hub, build.benchmark)
        return fetch_benchmark(home, hub, build.benchmark, build.version)
    finally:
        hub.close()


def main(arguments: list[str]) -> int:
    """Do the build that is written down in a state folder."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    home = Home(Path(arguments[0]))
    asked = Build.model_validate_json(home.console_build.read_bytes())
    ended = run(home, asked)
    save(home, ended)
    return 0 if ended.state == "built" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
