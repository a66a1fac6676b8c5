"""Asking a model about one series, in the sandbox, as an evaluation would: it sees one case and one empty folder."""

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from pipelines.job import PredictJob
from silo_node.answers.objects import Answer
from silo_node.cohorts.files import link
from silo_node.config import NodeConfig
from silo_node.deidentify.output_check import IMAGE_FILE, LABEL_FILE, RECORD_FILE
from silo_node.deidentify.pseudonyms import Pseudonyms, load_site_key
from silo_node.sandbox import Bind, Sandbox
from silo_node.sandbox.grant import granted
from silo_node.sandbox.work import run_job
from silo_node.state import Home
from silo_node.wire.benchmarks import BenchmarkDefinition
from silo_node.wire.canonical import canonical_bytes
from silo_node.wire.errors import BadInput, IntegrityError


@dataclass(frozen=True)
class Asked:
    """A model and the question it answers."""

    bundle: Path
    definition: BenchmarkDefinition
    name: str
    """Of the model, for the reader."""


def predict_series(home: Home, config: NodeConfig, sandbox: Sandbox, series: str, asked: Asked) -> Answer:
    """Return a model's answer on the voxels of a series that was taken in.

    Raises ``series-unknown`` where there is no case of that series, ``output-invalid`` where the jailed work wrote
    something else than a label map of it, and what the work ends with.
    """
    case = home.raw / Pseudonyms(load_site_key(home.site_key_file)).case("series", series)
    if not (case / IMAGE_FILE).exists():
        raise BadInput("series-unknown", "no case was made of it; see silo-node intake quarantine")
    with tempfile.TemporaryDirectory(dir=home.private, prefix="asked-") as place:
        raw, out = Path(place, "raw"), Path(place, "out")
        raw.mkdir(mode=0o700)
        out.mkdir(mode=0o700)
        _stage(case, raw)
        link(asked.bundle, Path(place, "model.zip"))
        run_job(
            sandbox,
            PredictJob(
                raw=Path("/raw"),
                bundle=Path("/model.zip"),
                definition=asked.definition.model_dump(mode="json"),
                out=Path("/out"),
                threads=config.threads,
            ),
            [Bind(raw, "/raw"), Bind(Path(place, "model.zip"), "/model.zip"), Bind(out, "/out", writable=True)],
            granted(config, config.limits.preparation_minutes),
            scratch=home.scratch,
            log=home.logs / "prediction.log",
        )
        shape = load_file(case / IMAGE_FILE)["image"].shape
        return Answer(_judged(out, shape, len(asked.definition.labels)), asked.definition.labels[1:], asked.name)


def _stage(case: Path, raw: Path) -> None:
    """Show the image and where it lies, and nothing of what is known about it."""
    shutil.copyfile(case / IMAGE_FILE, raw / IMAGE_FILE)
    record = json.loads((case / RECORD_FILE).read_bytes())
    shown = {name: record[name] for name in ("case", "affine", "spacing_mm")}
    (raw / RECORD_FILE).write_bytes(canonical_bytes(shown))


def _judged(out: Path, shape: tuple[int, ...], labels: int) -> "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]":
    path = out / LABEL_FILE
    try:
        tensors = load_file(path) if path.is_file() and not path.is_symlink() else {}
    except (OSError, SafetensorError):
        tensors = {}
    label = tensors.get("label")
    if set(tensors) != {"label"} or label is None or label.dtype != np.uint8 or label.shape != shape:
        raise IntegrityError("output-invalid", "the model left no label map of the series")
    if int(label.max()) >= labels:
        raise IntegrityError("output-invalid", "a voxel's label is none of the benchmark's")
    return label
