"""Models of tier 2: an honest ONNX model is judged, checked and evaluated, and its file is read without any library."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from pipelines.bundles import inspect_bundle, read_bundle, weights_file
from pipelines.bundles.onnx_file import inspect_onnx
from pipelines.bundles.protobuf import fields, numbers
from pipelines.check import check_bundle
from pipelines.errors import PipelineError
from pipelines.inference import evaluate_models
from pipelines.job import CheckJob, EvaluateJob, ModelFile
from pipelines.networks import load_network
from tests.hostile.onnx_models import classifier, packed
from tests.unit.pipelines.examples import definition, write_cohort

DIGEST = "blake3:" + "a" * 64


def test_an_honest_model_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    """Inputs, outputs, numbers, nodes and operator set."""
    model = classifier()
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    found = inspect_onnx(path, 0, path.stat().st_size)
    assert (found.opset, found.nodes, found.tensors) == (17, 2, 1)
    assert found.parameters == numpy_helper.to_array(model.graph.initializer[0]).size
    assert found.inputs == {"image": (1, (None, 1, 8, 8))}
    assert found.outputs == {"logits": (1, (None, 2))}


def test_it_is_of_tier_two_and_can_be_evaluated_but_not_trained(tmp_path: Path) -> None:
    """There is no network of the registry to average."""
    bundle = packed(tmp_path, classifier().SerializeToString())
    inspection = inspect_bundle(bundle, definition())
    assert (inspection.tier, inspection.parameters, inspection.profile.network_name) == (2, 128, "ONNX")
    with pytest.raises(PipelineError, match="model-incompatible"):
        weights_file(read_bundle(bundle), tmp_path / "weights.safetensors")


def test_its_predictions_are_the_models_own(tmp_path: Path) -> None:
    """Compared with the matrix product by hand."""
    import torch

    model = classifier()
    network = load_network(read_bundle(packed(tmp_path, model.SerializeToString())))
    image = np.random.default_rng(1).normal(size=(1, 1, 8, 8)).astype(np.float32)
    expected = image.reshape(1, 64) @ numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_allclose(network(torch.from_numpy(image)).numpy(), expected, rtol=1e-5)


def test_it_is_checked_and_scored_as_any_model_is(tmp_path: Path) -> None:
    """The same jobs, the same files."""
    bundle = packed(tmp_path, classifier().SerializeToString())
    out = tmp_path / "out"
    out.mkdir()
    check_bundle(CheckJob(bundle=bundle, definition=definition(), out=out))
    assert json.loads((out / "check.json").read_text())["network"] == "ONNX"
    cohort = write_cohort(tmp_path / "cohort")
    job = EvaluateJob(cohort=cohort, definition=definition(), models=(ModelFile(digest=DIGEST, path=bundle),), out=out)
    evaluate_models(job, lambda done, total: None)
    lines = [json.loads(line) for line in (out / "scores" / f"{'a' * 64}.jsonl").read_text().splitlines()]
    assert len(lines) == 6
    assert not any(line["failed"] for line in lines)


def test_judging_it_loads_neither_torch_nor_an_onnx_library(tmp_path: Path) -> None:
    """The hub reads the file itself."""
    bundle = packed(tmp_path, classifier().SerializeToString())
    program = (
        "import sys; from pathlib import Path; from pipelines.bundles import inspect_bundle;"
        f"inspect_bundle(Path({str(bundle)!r}));"
        "print([name for name in ('torch', 'onnx', 'onnxruntime', 'google.protobuf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("data", [b"\x08", b"\x0a\x05ab", b"\x00\x01", b"\x0b\x01", b"\x08" + b"\xff" * 11])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    """A number without an end, a field past the end, no number, an unknown kind."""
    with pytest.raises(PipelineError, match="bundle-invalid"):
        list(fields(memoryview(data)))


def test_numbers_are_read_packed_and_one_by_one() -> None:
    """Both are in use."""
    assert numbers(7) == [7]
    assert numbers(memoryview(b"\x01\x96\x01")) == [1, 150]
