"""A benchmark's problem fingerprint: the questions that decide which metrics are right, answered from its definition.

Source of the questions: Metrics Reloaded (Maier-Hein et al., Nat. Methods 2024; 21:195). The definition is immutable,
and so are the answers.
"""

from dataclasses import dataclass

from federation_hub.web.words import METRIC_MEANINGS, joined, plural
from silo_node.web.formats import PROVENANCE_NOTICES, metric_name, score
from silo_node.wire.benchmarks import BenchmarkDefinition

CALIBRATION = ("brier", "ece")


@dataclass(frozen=True, slots=True)
class FingerprintAnswer:
    """One question and its answer in words."""

    question: str
    answer: str


def fingerprint(definition: BenchmarkDefinition) -> tuple[FingerprintAnswer, ...]:
    """Return the questions with this benchmark's answers."""
    answers = (
        ("What is asked of a model?", _asked(definition)),
        ("What is one case?", _case(definition)),
        ("Whose images are they?", _whose(definition)),
        ("What decides the rank?", _decides(definition)),
        ("Does it matter how sure a model says it is?", _confidence(definition)),
        ("Is there an operating point?", _threshold(definition)),
        ("How exact must a border be?", _border(definition)),
        ("Where must a model not fail?", _floor(definition)),
        ("Which groups are looked at?", _groups(definition)),
        ("What of a prediction that fails?", "It counts with the worst score. None is left out."),
        ("What is counted as one?", "The patient, not the image: images of one patient are resampled together."),
        ("Which hospitals is it about?", "Hospitals in general: each counts the same, and they may differ."),
    )
    return tuple(FingerprintAnswer(question, answer) for question, answer in answers if answer)


def _asked(definition: BenchmarkDefinition) -> str:
    if definition.task == "segmentation":
        return f"To outline {joined([*definition.labels[1:]])}: a label for every voxel."
    return f"To tell {joined([*definition.labels])} apart: a probability for each, for the whole image."


def _case(definition: BenchmarkDefinition) -> str:
    shape = " × ".join(str(size) for size in definition.input.shape)
    steps = f" after {plural(len(definition.preparation), 'step')} of preparation" if definition.preparation else ""
    channels = plural(definition.input.channels, "channel")
    return f"{channels} of {shape} {_elements(definition)}, the same everywhere{steps}."


def _elements(definition: BenchmarkDefinition) -> str:
    return "pixels" if len(definition.input.shape) == 2 else "voxels"


def _whose(definition: BenchmarkDefinition) -> str:
    notice = PROVENANCE_NOTICES.get(definition.provenance)
    return f"{definition.data_source} ({definition.modality})." + (f" {notice[0]}" if notice else " Clinical data.")


def _decides(definition: BenchmarkDefinition) -> str:
    name = definition.primary.name
    return f"{metric_name(name)}: {METRIC_MEANINGS.get(name, 'see the methods')}."


def _confidence(definition: BenchmarkDefinition) -> str:
    if definition.task == "segmentation":
        return ""
    found = [metric_name(metric.name) for metric in definition.metrics if metric.name in CALIBRATION]
    return f"Yes: {joined(found)} beside the rank." if found else "Not here: only the order of cases counts."


def _threshold(definition: BenchmarkDefinition) -> str:
    if definition.task == "segmentation":
        return ""
    if not definition.thresholds:
        return "None is declared: the whole range of thresholds counts."
    return f"Declared beforehand, the same for every model: {joined([f'{at:g}' for at in definition.thresholds])}."


def _border(definition: BenchmarkDefinition) -> str:
    within = [f"{metric.tolerance_mm:g} mm" for metric in definition.metrics if metric.tolerance_mm is not None]
    return f"Within {joined(within)} it counts as met." if within else ""


def _floor(definition: BenchmarkDefinition) -> str:
    if definition.primary.floor is None:
        return "No floor is declared; the weakest hospital stands beside every mean."
    bound = "at least" if definition.primary.direction == "higher" else "at most"
    return f"Anywhere: {bound} {score(definition.primary.floor)} is asked at every single hospital."


def _groups(definition: BenchmarkDefinition) -> str:
    if not definition.subgroups:
        return "None is declared."
    return f"By {joined([name.replace('_', ' ') for name in definition.subgroups])}, where enough patients are in each."
