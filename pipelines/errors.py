"""The one exception of this package: a stable code and a sentence for the local log.

The sandbox knows nothing of the wire, so the codes are written down here; a test compares them with the registry
the two sides of the door share. A detail may name a file, a field or a tensor of the *bundle*, never a case's content.
"""

CODES: frozenset[str] = frozenset(
    {
        "benchmark-invalid",
        "bundle-archive-unsafe",
        "bundle-has-code",
        "bundle-invalid",
        "bundle-too-large",
        "case-without-label",
        "cohort-changed",
        "cohort-too-small",
        "data-missing",
        "file-missing",
        "image-invalid",
        "label-unknown",
        "malformed-message",
        "masking-incomplete",
        "masking-key",
        "masking-overflow",
        "masking-share",
        "model-incompatible",
        "network-argument-invalid",
        "network-not-private",
        "network-too-large",
        "network-unknown",
        "sandbox-limit",
        "too-few-cases",
        "too-few-negatives",
        "too-few-positives",
        "transform-argument-invalid",
        "transform-unknown",
        "update-dtype",
        "update-name-extra",
        "update-name-missing",
        "update-not-finite",
        "update-shape",
        "update-unsound",
        "weights-invalid",
        "weights-mismatch",
        "work-failed",
    }
)
"""Every code this package raises or reports."""


class PipelineError(Exception):
    """Something in a job, bundle, cohort or weights file is not usable.

    ``code`` is one of :data:`CODES`; ``detail`` is one sentence for the person beside the machine. It never travels.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        if code not in CODES:
            raise KeyError(f"unregistered problem code: {code}")
        self.code = code
        self.detail = detail
        super().__init__(f"[{code}] {detail}" if detail else f"[{code}]")
