"""Numbers and moments as they are written on a page: always with the same decimals, never with false precision."""

from datetime import datetime

MINUS = "−"
MISSING = "–"
METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "balanced_accuracy": "Balanced accuracy",
    "brier": "Brier score",
    "ece": "Calibration error",
    "dice": "Dice",
    "nsd": "Surface Dice",
    "hd95": "HD95 (mm)",
}
PROVENANCE_NOTICES = {
    "synthetic": (
        "Synthetic data.",
        "No patient stands behind these images; they were generated to show how MedSilo works.",
    ),
    "simulated-sites": (
        "Simulated hospitals.",
        "The cases are real and openly licensed, but the sites were made by splitting one public data set.",
    ),
}
"""What every page says first where no clinical data are behind it."""


def score(value: float | None) -> str:
    """Return a metric's value: three decimals under 2, one from 10 on, with a real minus sign."""
    if value is None:
        return MISSING
    size = abs(value)
    text = f"{size:.{3 if size < 2 else 2 if size < 10 else 1}f}"
    return MINUS + text if value < 0 and float(text) != 0 else text


def metric_name(name: str) -> str:
    """Return how a metric is written in a heading."""
    return METRIC_NAMES.get(name, name.replace("_", " "))


def signed(value: float | None) -> str:
    """Return a difference with its sign."""
    text = score(value)
    return text if value is None or value <= 0 else "+" + text


def chance(share: float | None) -> str:
    """Return a probability in percent; never 0% or 100%, which no sample can show."""
    if share is None:
        return MISSING
    if share < 0.01:
        return "<1%"
    return ">99%" if share > 0.99 else f"{100 * share:.0f}%"


def share(value: float | None) -> str:
    """Return a share as a whole percentage."""
    return MISSING if value is None else f"{100 * value:.0f}%"


def p_value(p: float | None) -> str:
    """Return a p value with three decimals, never as zero."""
    if p is None:
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def day(moment: datetime | None) -> str:
    """Return a date such as ``21 Nov 2026``."""
    return MISSING if moment is None else f"{moment.day} {moment:%b %Y}"


def minute(moment: datetime | None) -> str:
    """Return a date and time in UTC."""
    return MISSING if moment is None else f"{day(moment)}, {moment:%H:%M} UTC"


def short_digest(digest: str) -> str:
    """Return the algorithm and the first twelve digits of a digest, for reading and not for checking."""
    algorithm, colon, digits = digest.partition(":")
    return f"{algorithm}{colon}{digits[:12]}"


def size(count: int) -> str:
    """Return a size in bytes as ``1.4 MB``."""
    for unit, bound in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bound:
            return f"{count / bound:.1f} {unit}"
    return f"{count} bytes"


def seconds(value: float | None) -> str:
    """Return a duration: milliseconds under a second, then seconds, minutes, hours."""
    if value is None:
        return MISSING
    if value < 1:
        return f"{1000 * value:.0f} ms"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.0f} min" if value < 7200 else f"{value / 3600:.1f} h"
