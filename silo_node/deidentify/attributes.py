"""The attributes a case may keep, each from a closed vocabulary. What has no entry here does not come through.

Values are lower case and short enough to name a subgroup on the wire. A value the vocabulary does not know is left
out, never passed on: a maker field may hold a hospital's name.
"""

import re
from collections.abc import Mapping
from datetime import date

from silo_node.wire.cohorts import Maker

SEXES = {"m": "m", "male": "m", "f": "f", "female": "f", "o": "o", "other": "o"}
VIEWS = ("ap", "pa", "ll", "rl", "lld", "rld", "cc", "mlo", "ml", "lm")
"""View Position (0018,5101) of projection X-rays and mammograms."""

BODY_PARTS = {
    "head": "HEAD BRAIN SKULL HIPPOCAMPUS FACE ORBIT",
    "neck": "NECK CSPINE THYROID",
    "chest": "CHEST THORAX LUNG RIB",
    "heart": "HEART CARDIAC CORONARY",
    "breast": "BREAST",
    "abdomen": "ABDOMEN LIVER KIDNEY PANCREAS SPLEEN",
    "pelvis": "PELVIS PROSTATE BLADDER HIP",
    "spine": "SPINE TSPINE LSPINE SSPINE",
    "extremity": "EXTREMITY ARM LEG HAND FOOT KNEE SHOULDER ELBOW ANKLE WRIST",
    "whole-body": "WHOLEBODY",
}
"""Body Part Examined (0018,0015): the standard's terms (PS3.16 annex L), pooled into regions."""

FIELD_STRENGTHS = ("0.5t", "1.0t", "1.5t", "3.0t", "7.0t")
"""Magnetic Field Strength (0018,0087), to the nearest that scanners have."""

TUBE_VOLTAGES = ("70kv", "80kv", "90kv", "100kv", "110kv", "120kv", "130kv", "140kv", "150kv")
"""KVP (0018,0060), to the nearest ten."""

OLDEST = 90
"""Ages from here on are one band: few people are that old, so an exact age tells who they are."""

AGE_BANDS = (*(f"{low}-{low + 4}" for low in range(0, OLDEST, 5)), f"{OLDEST}+")
_MODALITY = re.compile(r"^(CR|CT|DM|DX|ES|GM|IO|IVUS|MG|MR|NM|OP|OPT|OT|PT|PX|RF|RG|SC|SM|US|XA|XC)$")
_MAKERS: tuple[tuple[str, Maker], ...] = (
    (r"^(ge|gems|gehc)\b|^general electric\b", "ge"),
    (r"\bsiemens\b", "siemens"),
    (r"\bphilips\b", "philips"),
    (r"\b(canon|toshiba)", "canon"),
    (r"\b(fuji|hitachi)", "fujifilm"),
)
_AGE_STRING = re.compile(r"^(\d{1,3})\s*([DWMY])$", re.IGNORECASE)
_DAYS = {"D": 1.0, "W": 7.0, "M": 30.4375, "Y": 365.25}
_DAYS_A_YEAR = 365.25

VOCABULARY: Mapping[str, frozenset[str]] = {
    "maker": frozenset(("ge", "siemens", "philips", "canon", "fujifilm", "other")),
    "sex": frozenset(SEXES.values()),
    "age_band": frozenset(AGE_BANDS),
    "view": frozenset(VIEWS),
    "body_part": frozenset(BODY_PARTS),
    "field_strength": frozenset(FIELD_STRENGTHS),
    "tube_voltage": frozenset(TUBE_VOLTAGES),
}
"""Every attribute a raw or prepared case may have, and every value it may take."""


def attributes(
    *,
    maker: str | None = None,
    sex: str | None = None,
    age_years: float | None = None,
    view: str | None = None,
    body_part: str | None = None,
    tesla: float | None = None,
    kilovolts: float | None = None,
) -> dict[str, str]:
    """Return the attributes of a case that the vocabulary knows, from the source's own values."""
    found = {
        "maker": normal_maker(maker or ""),
        "sex": SEXES.get((sex or "").strip().lower()),
        "age_band": age_band(age_years),
        "view": next((known for known in VIEWS if known == (view or "").strip().lower()), None),
        "body_part": body_region(body_part or ""),
        "field_strength": _nearest(tesla, FIELD_STRENGTHS, "t", 0.1),
        "tube_voltage": _nearest(kilovolts, TUBE_VOLTAGES, "kv", 5.0),
    }
    return {name: value for name, value in found.items() if value is not None}


def normal_maker(text: str) -> Maker | None:
    """Return the wire's name of a Manufacturer (0008,0070), ``other`` for an unknown one, None for an empty one.

    Toshiba's and Hitachi's imaging went to Canon and Fujifilm, whose devices still write the old names.
    """
    plain = re.sub(r"[^a-z0-9 ]", "", text.lower().replace("_", " ")).strip()
    if not plain:
        return None
    return next((maker for pattern, maker in _MAKERS if re.search(pattern, plain)), "other")


def body_region(text: str) -> str | None:
    """Return the region of a Body Part Examined, None for a term the list does not have."""
    plain = re.sub(r"[^A-Z]", "", text.upper())
    return next((region for region, terms in BODY_PARTS.items() if plain in terms.split()), None)


def _nearest(value: float | None, choices: tuple[str, ...], unit: str, within: float) -> str | None:
    if value is None:
        return None
    return next((text for text in choices if abs(float(text.removesuffix(unit)) - value) <= within), None)


def age_band(years: float | None) -> str | None:
    """Return the five-year band of an age, ``90+`` from 90 on, None for an age no human has."""
    if years is None or not 0 <= years <= 130:
        return None
    low = int(years) // 5 * 5
    return f"{OLDEST}+" if low >= OLDEST else f"{low}-{low + 4}"


def years_from_text(text: str) -> float | None:
    """Return years from a DICOM age string (``045Y``, ``006M``) or a plain number of years, else None."""
    match = _AGE_STRING.match(text.strip())
    if match:
        return int(match[1]) * _DAYS[match[2].upper()] / _DAYS_A_YEAR if match[2] not in "Yy" else float(match[1])
    try:
        return float(text)
    except ValueError:
        return None


def years_between(birth: str, study: str) -> float | None:
    """Return the age in years between two DICOM dates (YYYYMMDD), None unless both are dates."""
    try:
        born, seen = (date(int(text[:4]), int(text[4:6]), int(text[6:8])) for text in (birth, study))
    except ValueError:
        return None
    return (seen - born).days / _DAYS_A_YEAR


def normal_modality(text: str) -> str | None:
    """Return a Modality (0008,0060) the standard defines for images, else None."""
    plain = text.strip().upper()
    return plain if _MODALITY.match(plain) else None
