"""Canonical JSON is one byte form, and comes back as the same value."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import record
from harness.errors import UsageError
from harness.model import Difference, Distances, SetAside, Status


@given(st.floats(allow_nan=False), st.text(), st.integers(min_value=0, max_value=2**63))
def test_a_difference_tree_survives(number, text, count):
    leaf = Difference(text, Status.DIFFERENT, values=count, distances=Distances(max_abs=number))
    tree = Difference(
        "root", Status.DIFFERENT, set_aside=(SetAside(text, "why"),), children=(leaf,)
    )
    assert record.load(Difference, record.canonical(tree)) == tree


def test_numbers_that_json_lacks_become_words_and_come_back():
    tree = Difference(
        "x", Status.DIFFERENT, distances=Distances(max_rel=math.inf, max_abs=math.nan)
    )
    back = record.load(Difference, record.canonical(tree))
    assert back.distances.max_rel == math.inf
    assert math.isnan(back.distances.max_abs)


def test_key_order_does_not_change_the_bytes():
    assert record.canonical({"b": 1, "a": 2}) == record.canonical({"a": 2, "b": 1})


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"outcome": 1, "schema": 99}', b"[" * 100000, b"\xff"]
)
def test_what_is_no_record_is_refused(data):
    with pytest.raises(UsageError):
        record.parse_record(data)


def test_a_record_is_read():
    data = json.dumps({"schema": 1, "outcome": "REPRODUCED"}).encode()
    assert record.parse_record(data)["outcome"] == "REPRODUCED"
