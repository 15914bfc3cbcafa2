"""Canonical bytes against the RFC's own vectors; the Merkle root against its recursive definition."""

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from superalign.evidence import BadEvent, canonical, is_digest, merkle_root


def test_rfc_8785_sample():
    """The sample of RFC 8785, section 3.2.4, and its numbers of appendix B."""
    sample = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "€$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical(sample) == expected.encode()


def test_keys_sort_by_utf16_not_by_code_point():
    assert canonical({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 2**53, {1: 2}, b"bytes", object(), {"a": "\ud800"}])
def test_what_json_cannot_say_is_refused(bad):
    with pytest.raises(BadEvent):
        canonical({"x": bad})


def test_depth_is_capped():
    deep: object = 0
    for _ in range(40):
        deep = [deep]
    with pytest.raises(BadEvent, match="deeper"):
        canonical(deep)


def test_numpy_scalars_and_tuples_are_plain():
    value = {"a": np.float64(0.5), "b": np.int64(3), "c": (np.bool_(True), None)}
    assert canonical(value) == b'{"a":0.5,"b":3,"c":[true,null]}'


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "../" + "0" * 61, "0" * 64 + "\n", 5, None])
def test_only_64_lowercase_hex_digits_are_a_digest(text):
    assert not is_digest(text)


def rfc6962(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + rfc6962(leaves[:k]) + rfc6962(leaves[k:])).digest()


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=40))
def test_merkle_root_is_rfc_6962(leaves):
    assert merkle_root([leaf.hex() for leaf in leaves]) == rfc6962(leaves).hex()
