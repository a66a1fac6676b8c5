"""Makes what the demonstration needs as input, in a process of its own: sites' folders, or a researcher's models.

::

    python -m federation_hub.client.demo.materials sites|models --dataset chest_phantom --out DIR [--data DIR]

Prints one JSON document. Models are trained here, so torch is loaded in this process and not in the demonstration's.
"""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from silo_node.wire.errors import BadInput, MedSiloError


def write_sites(demo: Any, out: Path, data: Path | None) -> dict[str, Any]:
    """Write one folder of images a site with its label table; return them, and the study a researcher plans."""
    sites = [
        {"name": site.name, "kind": site.kind, "folder": str(site.folder), "table": str(site.table)}
        for site in demo.write_sites(out, data)
    ]
    return {"sites": sites, "study": demo.STUDY}


def write_models(demo: Any, out: Path, data: Path | None) -> list[dict[str, Any]]:
    """Write a researcher's three bundles, and return each with its card; the study federates one of them."""
    return [
        {"name": model.name, "bundle": str(model.bundle), "card": model.card} for model in demo.write_models(out, data)
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("sites", "models"))
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--data", type=Path)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    demo = import_module(f"benchmarks.{given.dataset}.demo")
    try:
        made = (write_sites if given.what == "sites" else write_models)(demo, given.out, given.data)
    except FileNotFoundError as error:
        return _fail(BadInput("data-missing", str(error.filename)))
    except MedSiloError as error:
        return _fail(error)
    json.dump(made, sys.stdout)
    return 0


def _fail(error: MedSiloError) -> int:
    json.dump({"code": error.code, "detail": error.detail}, sys.stderr)
    sys.stderr.write("\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
