"""Every table of every domain, so that the metadata is whole: for migrations and for the mappers."""

from federation_hub.accounts import tables as accounts
from federation_hub.associations import tables as associations
from federation_hub.benchmarks import tables as benchmarks
from federation_hub.db import Base
from federation_hub.entries import tables as entries
from federation_hub.evaluations import tables as evaluations
from federation_hub.leaderboards import tables as leaderboards
from federation_hub.masking import tables as masking
from federation_hub.models import tables as models
from federation_hub.neighbours import tables as neighbours
from federation_hub.silos import tables as silos
from federation_hub.storage import tables as storage
from federation_hub.studies import tables as studies

DOMAINS = (
    accounts,
    associations,
    benchmarks,
    entries,
    evaluations,
    leaderboards,
    masking,
    models,
    neighbours,
    silos,
    storage,
    studies,
)
METADATA = Base.metadata
