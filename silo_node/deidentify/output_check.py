"""The last look before a de-identified case is kept: is it only what is declared, and is nobody's name in it?

Two independent questions. First, the files are parsed again and must hold the declared fields and nothing else: a
header without remarks, a record whose every value comes from a closed vocabulary. Then what room is left for text,
and the pixel bytes themselves, are searched for the source's own identifiers. A hit means that this software has a
fault, so nothing of the case is kept (PS3.15 Annex E asks for the result of de-identification to be verified).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from silo_node.deidentify.attributes import VOCABULARY
from silo_node.deidentify.identifiers import Identifiers
from silo_node.wire.canonical import parse_object
from silo_node.wire.errors import IntegrityError

IMAGE_FILE = "image.safetensors"
LABEL_FILE = "label.safetensors"
RECORD_FILE = "case.json"
DTYPES = {"image": {"F32": 4, "I16": 2, "U8": 1}, "label": {"U8": 1}}
SHORTEST_IN_PIXELS = 6
"""Shorter texts occur in pixel bytes by chance."""

SHORTEST_DIGITS_IN_PIXELS = 8
SHORTEST_INSIDE_WORD = 8
_PSEUDONYM = re.compile(r"^[0-9a-f]{32}$")
_LABEL = re.compile(r"^(\d{1,2}|[a-z][a-z0-9_ -]{0,39})$")
_WORD = re.compile(r"\w+")
_FIELDS = {"case", "patient", "label", "split", "affine", "spacing_mm", "attributes"}


def check_output(case: str, files: Mapping[str, bytes], identifiers: Identifiers) -> None:
    """Raise ``identifier-leak`` unless a case's files are as declared and free of the source's identifiers.

    ``files`` are the exact bytes about to be written, by file name; ``case`` is the folder's name.
    """
    try:
        patient, label = _record_texts(case, files[RECORD_FILE])
        pixels = [_payload(name.partition(".")[0], data) for name, data in files.items() if name != RECORD_FILE]
    except (ValueError, KeyError, TypeError):
        raise IntegrityError("identifier-leak", "the output is not as declared") from None
    everything = identifiers.certain | identifiers.other
    # A label such as "normal" may well be what the free text of a header says, too.
    found = _in_text(case, everything) or _in_text(patient, everything) or _in_text(label, identifiers.certain)
    if found or any(_in_pixels(data, identifiers.certain) for data in pixels):
        raise IntegrityError("identifier-leak", "the output held a text of its source")


def _record_texts(case: str, data: bytes) -> tuple[str, str]:
    record = parse_object(data)
    _require(set(record) == _FIELDS and record["case"] == case)
    _require(bool(_PSEUDONYM.match(record["case"]) and _PSEUDONYM.match(record["patient"])))
    _require(record["label"] is None or bool(_LABEL.match(record["label"])))
    _require(record["split"] in (None, "train", "validation", "test"))
    _require(all(value in VOCABULARY[name] for name, value in record["attributes"].items()))
    _require(_only_numbers(record["affine"]) and _only_numbers(record["spacing_mm"]))
    return record["patient"], record["label"] or ""


def _only_numbers(value: Any) -> bool:
    if isinstance(value, list):
        return all(_only_numbers(part) for part in value)
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _payload(tensor: str, data: bytes) -> bytes:
    """Return the value bytes of a safetensors file that holds one tensor and nothing else."""
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    entry, payload = header[tensor], data[8 + size :]
    count = DTYPES[tensor][entry["dtype"]]
    for extent in entry["shape"]:
        count *= extent
    _require(set(header) == {tensor} and set(entry) == {"dtype", "shape", "data_offsets"})
    _require(entry["data_offsets"] == [0, len(payload)] and count == len(payload))
    return payload


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError


def _in_text(text: str, needles: frozenset[str]) -> bool:
    """Short identifiers count as whole words only: a name of three letters is inside many a pseudonym."""
    words = set(_WORD.findall(text.lower().replace("_", " ")))
    return any(needle in text.lower() if len(needle) >= SHORTEST_INSIDE_WORD else needle in words for needle in needles)


def _in_pixels(data: bytes, certain: frozenset[str]) -> bool:
    needles = [needle for needle in certain if _rare(needle)]
    if not needles:
        return False
    lowered = data.lower()
    return any(spelling in lowered for needle in needles for spelling in _spellings(needle))


def _rare(needle: str) -> bool:
    return len(needle) >= (SHORTEST_DIGITS_IN_PIXELS if needle.isdigit() else SHORTEST_IN_PIXELS)


def _spellings(needle: str) -> set[bytes]:
    """Return a text in the encodings a file may hold it in, each as ``bytes.lower`` would leave it."""
    encoded = [
        text.encode(encoding, errors="ignore")
        for text in (needle, needle.upper())
        for encoding in ("utf-8", "utf-16-le", "latin-1")
    ]
    return {data.lower() for data in encoded if len(data) >= SHORTEST_IN_PIXELS}
