"""``medsilo model``: make, check, submit and follow models."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.definition import bundled
from federation_hub.client import models
from federation_hub.client.cli.session import AsJson, Session, session
from federation_hub.client.following import print_entry, watch_entries
from federation_hub.client.hub import Record
from federation_hub.client.terminal import messages, output, print_json, print_table, transfer_bar
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.errors import BadInput, MedSiloError
from silo_node.wire.models import ModelCard

app = typer.Typer(no_args_is_help=True, help="Make, check, submit and follow models.")

BundlePath = Annotated[Path, typer.Argument(help="A bundle folder, or an archive made by medsilo model pack.")]
DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S%z"]
Digest = Annotated[str, typer.Argument(help="Digest of the model, blake3:...")]


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The bundle folder to make.")],
    source: Annotated[str, typer.Option("--from", help="The benchmark whose reference model to begin with.")],
    seed: Annotated[int, typer.Option(help="Seed of the initial weights; the same seed gives the same weights.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a working bundle folder from a benchmark's reference architecture, with fresh weights, and a card beside it.

    Replace the weights by trained ones and the card's words by your own.

    Example: `medsilo model new my_model --from chest_phantom`
    """
    from federation_hub.client.starting_point import write_starting_point

    card = write_starting_point(folder, source, seed=seed)
    if as_json:
        print_json({"folder": str(folder), "card": str(card)})
        return
    output().print(
        f"Wrote {folder} and {card}. Next: medsilo model check {folder} --benchmark {source}", soft_wrap=True
    )


@app.command()
def check(
    context: typer.Context,
    bundle: BundlePath,
    benchmark: Annotated[str | None, typer.Option(help="The benchmark it is meant for.")] = None,
    static: Annotated[bool, typer.Option("--static", help="Only look at the files; do not run the model.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check a bundle as the hub and the silos will: its files, and one prediction in the sandbox.

    Example: `medsilo model check my_model --benchmark chest_phantom`
    """
    definition = _definition(session(context), benchmark) if benchmark else None
    with models.packed(bundle) as archive:
        found = models.inspect(archive, definition)
        if not static:
            found["seconds"] = models.run_once(archive, definition)["seconds"]
    if as_json:
        print_json(found)
        return
    output().print(f"[green]Sound.[/] {_sentence(found)}")
    if "seconds" in found:
        output().print(f"One prediction in the sandbox took {found['seconds']:.3f} s.")


@app.command()
def pack(
    folder: Annotated[Path, typer.Argument(help="A bundle folder.")],
    out: Annotated[Path | None, typer.Option(help="The archive to write; by default FOLDER.zip.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pack a bundle folder into the archive that is submitted. The same folder gives the same bytes.

    Example: `medsilo model pack my_model`
    """
    from silo_node.wire.digests import digest_file

    if not folder.is_dir():
        raise BadInput("file-missing", str(folder))
    target = out or folder.with_name(folder.name + ".zip")
    found = models.pack(folder, target)
    digest = digest_file(target)
    if as_json:
        print_json({"archive": str(target), "digest": digest, **found})
        return
    output().print(f"Wrote {target}: {_sentence(found)}", soft_wrap=True)
    output().print(f"Digest {digest}", soft_wrap=True)


@app.command()
def submit(
    context: typer.Context,
    bundle: BundlePath,
    benchmark: Annotated[str, typer.Option(help="The benchmark to submit to.")],
    card: Annotated[Path | None, typer.Option(help="The model card; by default NAME.card.toml beside it.")] = None,
    name: Annotated[str | None, typer.Option(help="A card with this name only, instead of a file.")] = None,
    phase: Annotated[str | None, typer.Option(help="The phase to enter; by default the open one.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Tell only my own organisation of it.")] = False,
    embargo_until: Annotated[
        datetime | None, typer.Option(formats=DATES, help="Tell only my own organisation of it until then (UTC).")
    ] = None,
    version_of: Annotated[str | None, typer.Option(help="Digest of the model it is a new version of.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it through the hospitals.")] = False,
    as_json: AsJson = False,
) -> None:
    """Upload a bundle and submit it to a benchmark. An interrupted upload goes on where it stopped.

    Then see where it is, site by site, with `medsilo model status DIGEST --watch`.

    Example: `medsilo model submit my_model.zip --benchmark chest_phantom`
    """
    words = ModelCard(name=name) if name else models.read_card(card or models.card_path(bundle))
    hub = session(context).connect()
    with models.packed(bundle) as archive, transfer_bar("Uploading") as progress:
        record = hub.submit_model(
            archive,
            words,
            benchmark,
            phase=phase,
            private=private,
            embargo_until=_utc(embargo_until),
            version_of=version_of,
            progress=progress,
        )
    if not as_json:
        output().print(f"Submitted {words.name}: {record['state']}.", markup=False)
        output().print(f"Digest {record['digest']}", soft_wrap=True)
    entries = watch_entries(hub, record["digest"]) if watch else []
    if as_json:
        print_json(record | ({"entries": entries} if watch else {}))
    for entry in entries if not as_json else ():
        print_entry(entry)


@app.command()
def status(
    context: typer.Context,
    digest: Annotated[str | None, typer.Argument(help="Digest of one model; by default all you may see.")] = None,
    benchmark: Annotated[str | None, typer.Option(help="Only models of this benchmark.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Follow it until nothing more comes by itself.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show where models stand; with a digest of your own, site by site, with what was released.

    Example: `medsilo model status`
    """
    hub = session(context).connect()
    if digest is None:
        found = hub.models(benchmark)
        if as_json:
            print_json(found)
        else:
            columns = ["model", "state", "benchmarks", "owner", "digest"]
            print_table(columns, [_status_row(record) for record in found])
        return
    record = hub.model(digest)
    own = record["organisation"] == hub.me()["organisation"]
    entries = (watch_entries(hub, digest) if watch else hub.entries(digest)) if own else []
    if as_json:
        print_json(record | {"entries": entries})
        return
    columns = ["model", "state", "benchmarks", "owner", "digest"]
    print_table(columns, [_status_row(record)])
    for entry in entries:
        print_entry(entry)


@app.command()
def reveal(
    context: typer.Context,
    digest: Digest,
    benchmark: Annotated[str, typer.Option(help="The benchmark it was entered on privately.")],
    version: Annotated[int | None, typer.Option(help="Another version than the newest.")] = None,
    until: Annotated[
        datetime | None, typer.Option("--from", formats=DATES, help="Make it public from then on (UTC), not now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a private entry of yours public, now or from a date on. What was public stays public.

    Example: `medsilo model reveal blake3:... --benchmark chest_phantom`
    """
    hub = session(context).connect()
    chosen = version or int(hub.benchmark(benchmark)["definition"]["version"])
    entry = hub.show_entry(digest, benchmark, chosen, until=_utc(until))
    if as_json:
        print_json(entry)
    else:
        print_entry(entry)


@app.command()
def withdraw(context: typer.Context, digest: Digest, as_json: AsJson = False) -> None:
    """Withdraw a model of yours. No new evaluation takes it; past results stay on record.

    Example: `medsilo model withdraw blake3:...`
    """
    record = session(context).connect().withdraw_model(digest)
    if as_json:
        print_json(record)
    else:
        output().print(f"{record['card']['name']} is {record['state']}.", markup=False)


@app.command()
def networks(
    name: Annotated[str | None, typer.Argument(help="Show the arguments of one architecture.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the architectures a bundle may name, or show the arguments of one.

    Example: `medsilo model networks UNet`
    """
    from pipelines.bundles import NETWORKS, network_schema

    if name is not None and name not in NETWORKS:
        raise BadInput("network-unknown", f"choose from {', '.join(sorted(NETWORKS))}")
    schemas = {entry: network_schema(entry) for entry in ([name] if name else sorted(NETWORKS))}
    if as_json:
        print_json(schemas[name] if name else schemas)
    elif name:
        print_table(["argument", "type", "default"], _argument_rows(schemas[name]), title=name)
    else:
        print_table(["network", "for"], [[entry, _first_line(schema)] for entry, schema in schemas.items()])


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _definition(current: Session, benchmark: str) -> BenchmarkDefinition:
    """Return a benchmark's definition from the hub, or without a hub the one this installation brings."""
    try:
        return current.connect(signed_in=False).definition(benchmark)
    except MedSiloError as error:
        if error.code not in ("config-missing", "hub-unreachable"):
            raise
        messages().print(f"[yellow]No hub: checking against the {benchmark} definition of this installation.[/]")
        return bundled(benchmark)


def _sentence(found: Record) -> str:
    return (
        f"{found['network']} for {found['task']} of {', '.join(found['labels'][1:])}, "
        f"{found['parameters']:,} parameters, {found['weights_bytes'] / 1e6:.1f} MB of weights."
    )


def _status_row(record: Record) -> list[Any]:
    places = [
        f"{place['benchmark']}@{place['benchmark_version']} ({', '.join(_place_facts(place))})"
        for place in record["benchmarks"]
    ]
    state = record["state"] + (f" [{record['code']}]" if record["code"] else "")
    name = record["card"]["name"] + (f", version {record['version']}" if record["version"] > 1 else "")
    return [name, state, ", ".join(places) or None, record["organisation"], record["digest"]]


def _place_facts(place: Record) -> list[str]:
    facts = [place["state"]] + ([f"attempt {place['attempt']}"] if place["attempt"] else [])
    return facts + ([place["visibility"]] if place["visibility"] != "public" else [])


def _argument_rows(schema: Record) -> list[list[Any]]:
    return [
        [argument, _type_text(entry), json.dumps(entry["default"]) if "default" in entry else "required"]
        for argument, entry in schema["properties"].items()
    ]


def _type_text(entry: Record) -> str:
    types = [part.get("type", "see --json") for part in entry.get("anyOf", [entry])]
    return " or ".join(dict.fromkeys(types))


def _first_line(schema: Record) -> str:
    return str(schema.get("description", "")).partition("\n")[0].replace("``", "")
