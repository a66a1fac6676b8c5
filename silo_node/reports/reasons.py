"""Why cases are not in a cohort, in words."""

from silo_node.wire.errors import PROBLEMS

_MEANING = {
    "in-store": "in the store",
    "other-collection": "of another collection",
    "other-modality": "of another modality",
    "spacing": "spacing outside the range",
    "size": "size outside the range",
    "unlabelled": "without a label",
    "one-case-a-patient": "further cases of a patient",
    "copies-with-other-labels": "copies that contradict each other",
    "duplicate-pixels": "the same picture again",
}


def left_out(reason: str) -> str:
    """Return a step of the selection, or a code of the preparation, in words."""
    if reason.startswith(("include-", "exclude-")):
        return "by the query's " + reason.partition("-")[2].replace("_", " ")
    return _MEANING.get(reason) or (PROBLEMS[reason].title.lower() if reason in PROBLEMS else reason)
