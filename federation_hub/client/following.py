"""An entry on the terminal: where it stands at each hospital, followed until nothing more comes by itself."""

import sys
from typing import Any

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from federation_hub.client.hub import Hub, Record
from federation_hub.client.terminal import messages, output, print_table
from silo_node.wire.errors import PROBLEMS

WORDS = {
    "released": "released",
    "undefined": "released, without a value",
    "disputed": "disputed",
    "withdrawn": "withdrawn",
    "waiting": "waiting for the hospital",
    "running": "running",
    "held": "done, waits for a person's release",
    "declined": "declined",
    "refused": "refused by the hub",
    "missing": "not asked",
}


def watch_entries(hub: Hub, digest: str, *, every: float = 2.0) -> list[Record]:
    """Follow a model's entries until they are settled and return them; each change is a line where nobody looks on."""
    entries: list[Record] = []
    told: set[str] = set()
    live = Live(console=messages(), transient=True, auto_refresh=False) if sys.stderr.isatty() else None
    with live or _Nothing():
        for entries in hub.follow(digest, every=every):
            if live is not None:
                live.update(_table(entries), refresh=True)
                continue
            for line in _lines(entries):
                if line not in told:
                    messages().print(line, markup=False, soft_wrap=True)
                    told.add(line)
    return entries


def print_entry(entry: Record) -> None:
    """Print where an entry stands, hospital by hospital, and what was released of it."""
    output().print(_headline(entry), markup=False, soft_wrap=True)
    print_table(["site", "state", "why", "evaluation"], [_row(site) for site in entry["sites"]])
    output().print(result_sentence(entry["result"]), markup=False, soft_wrap=True)


def result_sentence(result: Record) -> str:
    """Return what was released of a model in one sentence."""
    metric, sites = f"{result['metric']} of {result['label']}", result["sites"]
    if result["status"] == "released":
        interval = f" (95% interval {result['low']:.3f} to {result['high']:.3f})" if result["low"] is not None else ""
        value = f"{result['estimate']:.3f}" if result["estimate"] is not None else "no value"
        return f"{metric}: {value}{interval}, {sites} site(s), {result['cases']} cases."
    if result["status"] == "withheld":
        return f"{metric}: not shown before more hospitals than {sites} have reported."
    if result["status"] == "silent":
        return f"{metric}: {PROBLEMS['ladder-no-gain'].title}; {result['best']} is told of."
    return f"{metric}: no hospital has reported yet."


class _Nothing:
    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _headline(entry: Record) -> str:
    facts = [f"{entry['benchmark']}@{entry['benchmark_version']}", entry["consent"] or entry["state"]]
    facts += [f"attempt {entry['attempt']}"] if entry["attempt"] else []
    facts += [f"phase {entry['phase']}"] if entry["phase"] else []
    shown = entry["visibility"] + (f" until {entry['embargo_until']}" if entry["embargo_until"] else "")
    version = f" version {entry['version']}" if entry["version"] > 1 else ""
    return f"{entry['name']}{version}: {', '.join([*facts, shown])}"


def _row(site: Record) -> list[Any]:
    return [site["site"], _words(site), site["code"], site["evaluation_id"]]


def _words(site: Record) -> str:
    counts = f" {site['done'] / site['total']:.0%}" if site["state"] == "running" and site["total"] else ""
    return WORDS[site["state"]] + counts


def _lines(entries: list[Record]) -> list[str]:
    lines = []
    for entry in entries:
        place = f"{entry['benchmark']}@{entry['benchmark_version']}"
        lines += [
            f"{place} {site['site']}: {WORDS[site['state']]}" + (f" [{site['code']}]" if site["code"] else "")
            for site in entry["sites"]
        ]
    return lines


def _table(entries: list[Record]) -> Table:
    table = Table.grid(padding=(0, 2))
    for entry in entries:
        table.add_row(escape(_headline(entry)))
        for site in entry["sites"]:
            table.add_row(f"  {escape(site['site'])}", _words(site), site["code"] or "")
        table.add_row(f"  {escape(result_sentence(entry['result']))}")
    return table
