"""Canonical bytes, checked against the examples of RFC 8785 itself."""

import json

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from silo_node.wire.canonical import canonical_bytes, message_digest, parse_object

_INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
_FLOATS = st.floats(-(2.0**53), 2.0**53) | st.floats(-1, 1).map(lambda value: round(value, 6))
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | _INTEGERS | _FLOATS | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(_FLOATS, max_size=4)
        | st.lists(_INTEGERS, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_the_example_of_rfc_8785_section_3_2_2_comes_out_byte_for_byte():
    """The RFC's own sample object serialises as the RFC prints it."""
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_bytes(sample) == expected.encode()


def test_keys_are_sorted_by_utf_16_code_units():
    """RFC 8785 section 3.2.3: an emoji (a surrogate pair) sorts before U+FB33."""
    sample = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6, "\u00f6": 7}
    keys = list(json.loads(canonical_bytes(sample)))
    assert keys == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@given(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
def test_the_order_of_keys_changes_nothing(value):
    """Two dictionaries that are equal have one digest."""
    backwards = dict(reversed(list(value.items())))
    assert message_digest(value) == message_digest(backwards)


@given(JSON_VALUES | st.floats(allow_nan=False, allow_infinity=False) | st.lists(st.floats(1e14, 1e22), max_size=3))
def test_what_is_written_here_is_what_rfc8785_writes(value):
    """The numbers and keys spelled for speed are those of the package that follows the RFC to the letter."""
    assert canonical_bytes({"value": value}) == rfc8785.dumps({"value": value})


@pytest.mark.parametrize("edge", [0.0, -0.0, 1e-4, 9.999e-5, -1e-6, 1e-7, 1e15, 1e16, 1e21, 123456789012345.6, 5e-324])
def test_the_edges_between_the_two_spellings_are_those_of_rfc8785(edge):
    """Where Python turns to exponents and where JavaScript does are not the same places."""
    value = {"one": edge, "many": [edge, 0.5, -edge], "whole": [0.25, edge]}
    assert canonical_bytes(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("value", [{1: 2}, {"a": "\ud800"}, {"\ud800": 1}, {"a": [2**53]}, {"a": {1, 2}}])
def test_what_has_no_canonical_form_is_refused(value):
    """Keys that are no text, half a surrogate pair, and what is not JSON at all."""
    with pytest.raises(ValueError, match="canonical"):
        canonical_bytes(value)


@given(st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=5))
def test_what_was_canonicalised_parses_to_the_same_value(value):
    """Canonical bytes lose nothing (beyond 2**53 JSON readers disagree on whether a number is whole)."""
    assert parse_object(canonical_bytes(value)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**60])
def test_numbers_json_cannot_carry_are_refused(value):
    """NaN, infinities and integers beyond 2**53 have no canonical form."""
    with pytest.raises(ValueError, match="canonical"):
        canonical_bytes({"value": value})


@pytest.mark.parametrize("data", [b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":Infinity}', b"[1]", b"{", b"\xff"])
def test_ambiguous_json_is_refused(data):
    """Duplicate keys, constants that are not JSON, non-objects and broken bytes are all refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - the standard library words its own refusals
        parse_object(data)
