"""What a prediction is and how a case is scored, for both kinds of task."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from pipelines.cohort import PreparedCase
from pipelines.tasks import Classification, Segmentation, task_for
from pipelines.tasks.classification import auroc
from tests.unit.pipelines.examples import question

IMAGE = np.zeros((1, 8, 8), np.float32)


def labelled(label: int) -> PreparedCase:
    return PreparedCase(IMAGE, label, (1.0, 1.0))


@pytest.mark.parametrize("seed", range(5))
def test_auroc_is_that_of_scikit_learn(seed: int) -> None:
    """With ties, as scores in steps of 1/4096 have them."""
    random = np.random.default_rng(seed)
    scores, labels = np.round(random.random(60) * 10) / 10, random.random(60) < 0.4
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores))


def test_the_benchmark_decides_the_task() -> None:
    """By its definition alone."""
    assert isinstance(task_for(question()), Classification)
    assert isinstance(task_for(question("segmentation")), Segmentation)


def test_probabilities_come_in_coarse_steps_of_their_log_odds() -> None:
    """Low bits could carry something else out of a case; order is kept where a model is very sure."""
    task = Classification(question())
    scores = task.predict(torch.tensor([[0.3, 1.1]]))
    assert float(np.log(scores[1] / scores[0]) * 64) == pytest.approx(round(0.8 * 64))
    assert task.predict(torch.tensor([[0.0, 12.0]]))[1] < task.predict(torch.tensor([[0.0, 12.1]]))[1] < 1


@pytest.mark.parametrize("logits", [torch.zeros(1, 3), torch.zeros(2), torch.tensor([[float("nan"), 0.0]])])
def test_an_output_that_is_not_one_finite_logit_a_class_is_no_prediction(logits: torch.Tensor) -> None:
    """The case then counts as failed."""
    with pytest.raises(ValueError, match="not one finite logit"):
        Classification(question()).predict(logits)


def test_a_failed_classification_scores_its_own_class_nought() -> None:
    """The worst answer there is, whichever class it was."""
    task = Classification(question())
    assert task.failed_record(labelled(1)) == {"scores": [1.0, 0.0]}
    assert task.failed_record(labelled(0)) == {"scores": [0.0, 1.0]}


def test_validation_is_undefined_with_few_of_a_class() -> None:
    """A coded reason, never NaN."""
    task = Classification(question(minimum=5))
    for positives, reason in ((4, "too-few-positives"), (16, "too-few-negatives")):
        cases = [labelled(int(number < positives)) for number in range(20)]
        records = [{"scores": [0.5, 0.5]} for _ in cases]
        assert task.validate(records, cases) == ("auroc", None, reason)


def test_validation_is_the_auroc_of_the_positive_class() -> None:
    """Against scikit-learn."""
    random = np.random.default_rng(0)
    cases = [labelled(number % 2) for number in range(30)]
    scores = random.random(30)
    records = [{"scores": [1 - float(score), float(score)]} for score in scores]
    metric, value, reason = Classification(question(minimum=5)).validate(records, cases)
    assert (metric, reason) == ("auroc", "")
    assert value == pytest.approx(roc_auc_score([case.label for case in cases], scores))


def test_a_segmentation_is_scored_structure_by_structure() -> None:
    """With the voxel size in volumes and distances."""
    label = np.zeros((8, 8, 8), np.uint8)
    label[2:6, 2:6, 2:6] = 2
    case = PreparedCase(np.zeros((1, 8, 8, 8), np.float32), label, (1.0, 1.0, 2.0))
    task = Segmentation(question("segmentation"))
    logits = torch.nn.functional.one_hot(torch.from_numpy(label).long(), 3).movedim(-1, 0)[None].float()
    structures = task.record(task.predict(logits), case)["structures"]
    assert list(structures) == ["core", "rim"]
    assert structures["core"] == {
        "dice": 1.0,
        "nsd": 1.0,
        "hd95": 0.0,
        "volume_ml": 0.0,
        "reference_ml": 0.0,
        "empty_reference": True,
    }
    assert structures["rim"]["dice"] == 1.0
    assert structures["rim"]["volume_ml"] == pytest.approx(64 * 2 / 1000)


def test_a_failed_segmentation_is_the_worst_of_each_metric() -> None:
    """HD95 at the benchmark's cap."""
    case = PreparedCase(np.zeros((1, 8, 8, 8), np.float32), np.ones((8, 8, 8), np.uint8), (1.0, 1.0, 1.0))
    structures = Segmentation(question("segmentation")).failed_record(case)["structures"]
    assert structures["core"]["dice"] == structures["core"]["nsd"] == 0
    assert structures["core"]["hd95"] == 20
    assert structures["core"]["reference_ml"] == pytest.approx(0.512)


def test_a_map_on_another_grid_is_no_prediction() -> None:
    """Half the size, say, from a network with a stride too many."""
    with pytest.raises(ValueError, match="grid"):
        Segmentation(question("segmentation")).predict(torch.zeros(1, 3, 4, 4, 4))


def test_the_mean_dice_of_few_cases_is_not_told() -> None:
    """The cell limit of the benchmark holds for validation, too."""
    task = Segmentation(question("segmentation", minimum=5))
    case = PreparedCase(np.zeros((1, 8, 8, 8), np.float32), np.ones((8, 8, 8), np.uint8), (1.0, 1.0, 1.0))
    records = [task.failed_record(case)] * 4
    assert task.validate(records, [case] * 4) == ("dice", None, "too-few-cases")


def test_both_losses_fall_when_the_answer_gets_better() -> None:
    """The gradient points the right way."""
    labels = torch.randint(0, 3, (2, 8, 8, 8), generator=torch.Generator().manual_seed(0))
    right = 4 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    segmentation = Segmentation(question("segmentation"))
    assert segmentation.loss(right, labels) < segmentation.loss(torch.zeros_like(right), labels)
    classification = Classification(question())
    target = torch.tensor([0, 1])
    assert classification.loss(torch.eye(2) * 4, target) < classification.loss(torch.zeros(2, 2), target)
