"""The loop a researcher would write with torch and MONAI: what :mod:`tests.performance.evaluate` compares with."""

import json
import sys
from pathlib import Path

import torch
from monai.metrics.hausdorff_distance import HausdorffDistanceMetric
from monai.metrics.meandice import DiceMetric
from monai.metrics.rocauc import ROCAUCMetric
from monai.metrics.surface_dice import SurfaceDiceMetric
from monai.networks.utils import one_hot
from safetensors.torch import load_file

from pipelines.bundles import read_bundle
from pipelines.networks import load_network


def classify(network: torch.nn.Module, cases: list[Path]) -> float:
    """Predict every case and return the area under the ROC curve."""
    metric = ROCAUCMetric()
    for path in cases:
        case = load_file(path)
        scores = torch.softmax(network(case["image"][None]), dim=1)
        metric(y_pred=scores[:, 1:], y=case["label"][None])
    return float(metric.aggregate())


def segment(network: torch.nn.Module, cases: list[Path]) -> list[float]:
    """Predict every case and return mean Dice, surface Dice and HD95 over cases and structures."""
    metrics = [
        DiceMetric(include_background=False),
        SurfaceDiceMetric(class_thresholds=[1.0, 1.0], include_background=False),
        HausdorffDistanceMetric(include_background=False, percentile=95),
    ]
    for path in cases:
        case = load_file(path)
        logits = network(case["image"][None])
        predicted = one_hot(logits.argmax(dim=1, keepdim=True), logits.shape[1])
        reference = one_hot(case["label"][None, None].long(), logits.shape[1])
        for metric in metrics:
            metric(y_pred=predicted, y=reference)
    return [float(metric.aggregate().mean()) for metric in metrics]


def main() -> None:
    """Run the loop named by one JSON argument."""
    given = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    # MONAI's own loading of a bundle runs code from it; the kit's builds the same MONAI network.
    network = load_network(read_bundle(Path(given["model"])))
    cases = sorted((Path(given["cohort"]) / "cases").iterdir())
    with torch.inference_mode():
        print(classify(network, cases) if given["task"] == "classification" else segment(network, cases))


if __name__ == "__main__":
    main()
