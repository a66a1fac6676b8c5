"""What a page is about for machines: schema.org terms as JSON-LD.

A data block is not a script: browsers never run it, and the content policy does not concern it. Still nothing in it
can end the block, whatever a model is called.
"""

import json
from collections.abc import Mapping
from typing import Any

from flask import request
from markupsafe import Markup

from federation_hub.benchmarks.tables import Benchmark
from federation_hub.leaderboards.tables import Snapshot
from federation_hub.models.tables import Model
from federation_hub.studies.tables import Study
from federation_hub.web.rendering import link
from federation_hub.web.words import METRIC_MEANINGS
from silo_node.web.formats import metric_name
from silo_node.wire.benchmarks import BenchmarkDefinition

Thing = dict[str, Any]
CONTEXT = "https://schema.org"
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def script(thing: Mapping[str, Any]) -> Markup:
    """Return a thing as a JSON-LD data block."""
    text = json.dumps({"@context": CONTEXT, **thing}, ensure_ascii=False)
    for char, escape in _ESCAPES.items():
        text = text.replace(char, escape)
    return Markup('<script type="application/ld+json">{}</script>').format(Markup(text))  # noqa: S704


def absolute(path: str) -> str:
    """Return a path of ours as a whole address, as the reader reached the hub."""
    return request.url_root.rstrip("/") + path


def benchmark_dataset(row: Benchmark, definition: BenchmarkDefinition, snapshot: Snapshot | None) -> Thing:
    """Return a benchmark version with its results as a ``Dataset``."""
    address = absolute(link("benchmarks", row.name, row.version))
    thing: Thing = {
        "@type": "Dataset",
        "@id": address,
        "url": address,
        "name": f"{definition.title}: results of models over hospitals",
        "description": _described(definition.summary),
        "version": str(row.version),
        "identifier": row.digest,
        "datePublished": row.created.date().isoformat(),
        "keywords": [definition.task, definition.modality, definition.provenance, "medical imaging benchmark"],
        "measurementTechnique": "Evaluation at each hospital; random-effects mean with 95% intervals",
        "variableMeasured": [_variable(metric.name) for metric in definition.metrics],
        "isAccessibleForFree": True,
    }
    if snapshot is not None:
        base = absolute(link("snapshots", snapshot.digest))
        thing["dateModified"] = snapshot.created.date().isoformat()
        thing["distribution"] = [
            _download(f"{base}/leaderboard.csv", "text/csv"),
            _download(f"{base}/leaderboard.json", "application/json"),
        ]
    return thing


def _described(summary: str) -> str:
    """Search engines want 50 characters at least and 5,000 at most."""
    return f"{summary} Results of models over hospitals that keep their images, with their uncertainty."[:5000]


def _variable(name: str) -> Thing:
    return {"@type": "PropertyValue", "name": metric_name(name), "description": METRIC_MEANINGS.get(name, name)}


def _download(address: str, media_type: str) -> Thing:
    return {"@type": "DataDownload", "contentUrl": address, "encodingFormat": media_type}


def model_work(model: Model, owner: str) -> Thing:
    """Return a model as a ``CreativeWork``: schema.org has no word for a trained model yet."""
    address = absolute(link("models", model.digest))
    thing: Thing = {
        "@type": "CreativeWork",
        "@id": address,
        "url": address,
        "name": model.card["name"],
        "identifier": model.digest,
        "dateCreated": model.created.date().isoformat(),
        "creator": {"@type": "Organization", "name": owner},
    }
    optional = {"abstract": "description", "license": "licence", "usageInfo": "intended_use"}
    return thing | {term: model.card[key] for term, key in optional.items() if model.card.get(key)}


def study_project(study: Study) -> Thing:
    """Return a study as a ``ResearchProject``."""
    address = absolute(link("studies", study.id))
    thing: Thing = {"@type": "ResearchProject", "@id": address, "url": address, "name": study.plan["title"]}
    return thing | {"identifier": study.plan_digest, "foundingDate": study.created.date().isoformat()}
