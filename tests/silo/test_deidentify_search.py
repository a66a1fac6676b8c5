"""Searching what was written for the identifiers of a whole site."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo_node.deidentify.identifiers import Identifiers, dates, names
from silo_node.deidentify.known import KnownCase, KnownIdentifiers
from silo_node.deidentify.search import IdentifierSearch
from silo_node.deidentify.written import WrittenCheck, outside_files
from silo_node.state import Home
from silo_node.wire.errors import IntegrityError

SAID = Identifiers(
    certain=names(["Musterfrau^Erika", "Lee^An", "Çelikkaya^Özgür^=Дмитриева"])
    | {"mrn-0815", "48151623", "00000000"}
    | dates(["19640812"]),
    other=frozenset({"seen at st. elsewhere", "siemens", "1.3.12.2.1107.5.2"}),
)
NOISE = np.random.default_rng(4).normal(size=30_000).astype(np.float32).tobytes()


@pytest.mark.parametrize(
    "text", ["Musterfrau", "MRN-0815", "1964-08-12", "12.08.1964", "ÇELIKKAYA", "1.3.12.2.1107.5.2"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "latin-1"])
def test_a_text_is_found_anywhere_in_an_arrays_bytes(text: str, encoding: str) -> None:
    search = IdentifierSearch(SAID)
    assert not search.in_bytes(NOISE)
    for place in (0, 1, 7777, len(NOISE)):
        assert search.in_bytes(NOISE[:place] + text.encode(encoding) + NOISE[place:])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le"])
def test_a_name_in_another_script_is_found(encoding: str) -> None:
    assert IdentifierSearch(SAID).in_bytes(NOISE + "ДМИТРИЕВА".encode(encoding) + NOISE)


@given(st.text(alphabet="0123456789abcdef", min_size=64, max_size=64))
def test_a_number_inside_a_digest_is_chance(digest: str) -> None:
    search = IdentifierSearch(SAID)
    assert not search.in_bytes(f'{{"digest": "{digest[:20]}a48151623b{digest}"}}'.encode())
    assert search.in_bytes(f'{{"note": "48151623", "digest": "{digest}"}}'.encode())


def test_short_names_count_as_whole_words_of_a_text_only() -> None:
    search = IdentifierSearch(SAID)
    assert search.in_text("reported by Lee")
    assert not search.in_text("sleep and fleece")
    assert not search.in_bytes(b"\x01Lee\x02")


def test_what_a_case_may_keep_and_what_the_benchmark_calls_its_labels_is_no_leak() -> None:
    assert not IdentifierSearch(SAID).in_text("maker: siemens")
    named = Identifiers(certain=names(["Pneumonia^X"]))
    assert IdentifierSearch(named).in_text("pneumonia")
    assert not IdentifierSearch(named, allowed=["pneumonia"]).in_text("pneumonia")


def test_a_number_of_one_digit_repeated_is_in_every_flat_array() -> None:
    assert not IdentifierSearch(SAID).in_bytes(np.full(100, ord("0"), np.uint8).tobytes())


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "silo").create()
    with KnownIdentifiers(home) as known:
        known.put({"ab" * 16: KnownCase(SAID, frozenset({"head-scan"})), "cd" * 16: KnownCase(Identifiers())})
    return home


def leaks(check: WrittenCheck, kind: str, value: object) -> bool:
    try:
        getattr(check, kind)(value)
    except IntegrityError as error:
        return error.code == "identifier-leak"
    return False


def test_documents_and_arrays_with_an_identifier_fail_closed(home: Home) -> None:
    check = WrittenCheck(home)
    assert not leaks(check, "document", {"case": "48151623" * 4, "attributes": {"maker": "siemens"}})
    assert leaks(check, "document", {"cases": [{"note": "Erika"}]})
    assert leaks(check, "document", {"Musterfrau": 1})
    assert not leaks(check, "array", NOISE)
    assert leaks(check, "array", NOISE + b"MRN-0815")


def test_every_file_outside_the_private_store_can_be_searched(home: Home) -> None:
    (home.logs / "node.log").write_text("took in MRN-0815\n")
    (home.logs / "fine.log").write_text("took in a case\n")
    (home.scratch / "Musterfrau.bin").write_bytes(b"")
    (home.private / "names.txt").write_text("Musterfrau")
    check = WrittenCheck(home)
    assert [path.name for path in outside_files(home) if check.finds(path)] == ["node.log", "Musterfrau.bin"]


def test_what_the_policy_let_through_is_counted(home: Home) -> None:
    with KnownIdentifiers(home) as known:
        assert (known.count(), dict(known.risks())) == (2, {"head-scan": 1})
        assert known.identifiers(["cd" * 16]) == Identifiers()
