"""Made-up people for DICOM headers: names from syllables, so that no name is anybody's on purpose."""

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

_STARTS = (
    "Bal",
    "Cor",
    "Del",
    "Fen",
    "Gar",
    "Hol",
    "Jor",
    "Kel",
    "Lor",
    "Mar",
    "Nor",
    "Pel",
    "Ros",
    "Sel",
    "Tor",
    "Vel",
)
_MIDDLES = ("a", "ande", "e", "ene", "i", "ili", "o", "oro", "u", "ume")
_ENDS = (
    "berg",
    "dale",
    "dorn",
    "feld",
    "gren",
    "ham",
    "len",
    "lund",
    "mont",
    "nov",
    "quist",
    "rick",
    "sen",
    "stad",
    "wen",
)
_GIVEN = {
    "F": ("Adelune", "Brisane", "Celoway", "Doriane", "Elvania", "Florelle", "Imarie", "Junessa", "Liorane", "Nerisse"),
    "M": ("Arlon", "Brevic", "Corvan", "Dastan", "Elrick", "Farun", "Garveth", "Jorund", "Kelvan", "Tormund"),
}


@dataclass(frozen=True)
class Patient:
    """What a header says of a person; ``identifier`` is the hospital's own number."""

    identifier: str
    family: str
    given: str
    sex: str
    birth: date
    study: date

    @property
    def age_years(self) -> int:
        """Age in whole years on the day of the study."""
        return (self.study - self.birth).days // 365


def invent_patient(random: np.random.Generator, number: int, prefix: str) -> Patient:
    """Invent a person; ``prefix`` and ``number`` make the hospital's own identifier."""
    sex = "F" if random.random() < 0.5 else "M"
    study = date(2024, 1, 1) + timedelta(days=int(random.integers(0, 700)))
    age = int(np.clip(random.normal(58, 16), 18, 95) * 365.25)
    return Patient(
        identifier=f"{prefix}{700000 + 37 * number:07d}",
        family=_pick(random, _STARTS) + _pick(random, _MIDDLES) + _pick(random, _ENDS),
        given=_pick(random, _GIVEN[sex]),
        sex=sex,
        birth=study - timedelta(days=age),
        study=study,
    )


def _pick(random: np.random.Generator, values: tuple[str, ...]) -> str:
    return values[int(random.integers(len(values)))]
