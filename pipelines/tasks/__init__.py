"""What differs between kinds of task: the loss, what a network's output means, and how a case is scored."""

from pipelines.question import Question
from pipelines.tasks.classification import Classification
from pipelines.tasks.segmentation import Segmentation

Task = Classification | Segmentation


def task_for(question: Question) -> Task:
    """Return the task a benchmark asks for."""
    return Classification(question) if question.task == "classification" else Segmentation(question)


__all__ = ["Classification", "Segmentation", "Task", "task_for"]
