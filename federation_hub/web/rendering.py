"""How a page is rendered: the filters templates may use, and what every page knows about its hub."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask import Blueprint, g, render_template, request
from flask.blueprints import BlueprintSetupState
from jinja2 import StrictUndefined

from federation_hub.accounts.actors import ANONYMOUS
from federation_hub.services import services
from federation_hub.web import assets, words
from silo_node import __version__
from silo_node.web import formats

FILTERS: dict[str, Callable[..., str]] = {
    "score": formats.score,
    "signed": formats.signed,
    "chance": formats.chance,
    "share": formats.share,
    "p_value": formats.p_value,
    "day": formats.day,
    "minute": formats.minute,
    "short_digest": formats.short_digest,
    "size": formats.size,
    "seconds": formats.seconds,
    "metric_name": formats.metric_name,
    "arrow": words.arrow,
    "reason": words.reason,
    "rule_name": words.rule_name,
    "note": words.note,
    "state": words.state,
    "cell": words.cell,
    "plural": words.plural,
    "xml_text": words.xml_text,
    "timestamp": words.timestamp,
}

# Globals and not context, because a template that is imported for its macros sees no context.
GLOBALS: dict[str, object] = {
    "asset": assets.address,
    "integrity": assets.integrity,
    "provenance_notices": formats.PROVENANCE_NOTICES,
    "metric_meanings": words.METRIC_MEANINGS,
    "account_sections": words.ACCOUNT_SECTIONS,
}


@dataclass(frozen=True, slots=True)
class HubFrame:
    """What the frame of every page tells about the hub."""

    name: str
    version: str
    development: bool


def _context() -> dict[str, Any]:
    config = services().config
    return {"hub": HubFrame(config.name, __version__, config.development)}


def _set_up(setup: BlueprintSetupState) -> None:
    setup.app.jinja_env.globals.update(GLOBALS)
    # A name that a template misspells must fail a test, not leave a notice out.
    setup.app.jinja_env.undefined = StrictUndefined


def prepare(blueprint: Blueprint) -> None:
    """Give an application's templates the filters and the frame's context, through the blueprint of its pages."""
    for name, function in FILTERS.items():
        blueprint.add_app_template_filter(function, name)
    blueprint.record(_set_up)
    blueprint.app_context_processor(_context)


def link(kind: str, *parts: str | int) -> str:
    """Return the address of a thing: ``link("models", digest)`` is ``/models/blake3:...``."""
    return "/".join([f"/{kind}", *(quote(str(part), safe=":") for part in parts)])


def page(template: str, **view: Any) -> str:
    """Render a page."""
    return render_template(template, request=request, actor=g.get("actor", ANONYMOUS), **view)
