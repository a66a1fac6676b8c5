"""The application: one factory, one blueprint of JSON routes a domain, and the pages."""

from typing import TYPE_CHECKING

from flask import Flask

from federation_hub import health, metrics, openapi
from federation_hub.accounts import api as accounts
from federation_hub.accounts import oauth
from federation_hub.associations import api as associations
from federation_hub.benchmarks import api as benchmarks
from federation_hub.config import HubConfig
from federation_hub.db import Database
from federation_hub.entries import api as entries
from federation_hub.errors import register_error_handlers
from federation_hub.evaluations import api as evaluations
from federation_hub.intake import api as intake
from federation_hub.keys import load_or_make_key
from federation_hub.leaderboards import api as leaderboards
from federation_hub.limits import limit
from federation_hub.masking import api as masking
from federation_hub.models import api as models
from federation_hub.security import secure
from federation_hub.services import EXTENSION, Services
from federation_hub.silos import api as silos
from federation_hub.statistics import api as statistics
from federation_hub.storage import api as storage
from federation_hub.storage.blobs import BlobStore
from federation_hub.studies import api as studies
from federation_hub.web import pages

if TYPE_CHECKING:
    from federation_hub.engine.engine import Engine

API = "/api/v1"
_APIS = (
    accounts,
    associations,
    statistics,
    benchmarks,
    entries,
    evaluations,
    intake,
    leaderboards,
    masking,
    models,
    oauth,
    openapi,
    silos,
    storage,
    studies,
)


def build_services(config: HubConfig, engine: "Engine | None" = None) -> Services:
    """Open the database, the blobs and the key of a hub."""
    config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Services(
        config=config,
        database=Database(config.database),
        blobs=BlobStore(config.blobs_path),
        key=load_or_make_key(config.key_path),
        engine=engine,
    )


def create_app(config: HubConfig, *, engine: "Engine | None" = None, services: Services | None = None) -> Flask:
    """Return the hub's WSGI application. The database must have been migrated before the first request."""
    app = Flask("federation_hub", static_folder=None, template_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["MAX_CONTENT_LENGTH"] = config.maximum_message_bytes
    app.extensions[EXTENSION] = services or build_services(config, engine)
    secure(app)
    limit(app, app.extensions[EXTENSION].config)
    register_error_handlers(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(metrics.blueprint)
    for module in _APIS:
        app.register_blueprint(module.blueprint, url_prefix=API)
    app.register_blueprint(oauth.metadata)
    app.register_blueprint(pages.blueprint)
    return app
