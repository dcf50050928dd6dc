"""Distances of tensors against a plain reading in double precision, element by element."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from harness.comparators import numeric
from harness.comparators.tensor import Tensor, compare_tensors, numbers
from harness.model import Status, Tolerance, ToleranceRule

KINDS = {
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "float8_e5m2": ml_dtypes.float8_e5m2,
    "int64": "i8", "int8": "i1", "uint16": "u2", "bool": "?", "complex64": "c8",
}  # fmt: skip
LIMITS = st.sampled_from([0.0, 1e-45, 1e-7, 1e-3, 0.5, 1e35])


def words(name):
    """Return bit patterns of a type, neighbours of each other more often than chance would."""
    width = np.dtype(KINDS[name]).itemsize
    if name == "bool":
        return st.tuples(st.integers(0, 1), st.integers(0, 1))
    top = (1 << (8 * width)) - 1
    near = st.tuples(st.integers(0, top), st.integers(-3, 3))
    near = near.map(lambda pair: (pair[0], min(top, max(0, pair[0] + pair[1]))))
    return st.one_of(near, st.tuples(st.integers(0, top), st.integers(0, top)))


def plain(a, b, rule):
    """Return what the rules say, for two values, as (beyond, absolute, relative)."""
    if isinstance(a, int):
        gap = float(abs(a - b))
    elif a == b or (a != a and b != b):
        gap = 0.0
    else:
        gap = abs(a - b)
        gap = math.inf if gap != gap else gap
    size = abs(a)
    finite = math.isfinite(size)
    allowed = rule.atol + rule.rtol * size if finite else 0.0
    return not gap <= allowed, gap, gap / size if size and finite else 0.0


@settings(max_examples=300, deadline=None)
@given(st.data(), st.sampled_from(sorted(KINDS)), LIMITS, LIMITS)
def test_every_type_agrees_with_a_plain_reading(data, name, rtol, atol):
    rule = ToleranceRule(rtol=rtol, atol=atol)
    width = np.dtype(KINDS[name]).itemsize
    pairs = data.draw(st.lists(words(name), min_size=1, max_size=12))
    left, right = (b"".join(p[side].to_bytes(width, "little") for p in pairs) for side in (0, 1))
    found = numeric.measure(left, right, name, rule)
    differ = [p[0] != p[1] for p in pairs]
    assert found.differing == sum(differ)
    assert found.first == (differ.index(True) if any(differ) else None)
    if not rtol and not atol:
        assert found.beyond == sum(differ)
        return
    with np.errstate(all="ignore"):
        wide = (
            complex
            if name == "complex64"
            else (int if name[-2:] == "64" and name[0] == "i" else float)
        )
        sides = [[wide(v) for v in np.frombuffer(s, KINDS[name])] for s in (left, right)]
        expected = [plain(a, b, rule) for a, b in zip(*sides, strict=True)]
    assert found.max_abs == pytest.approx(max(e[1] for e in expected), rel=1e-6)
    assert found.max_rel == pytest.approx(max(e[2] for e in expected), rel=1e-6)
    if name != "complex64":  # whose length is rounded
        assert found.beyond == sum(e[0] for e in expected)


@settings(max_examples=100, deadline=None)
@given(
    npst.arrays(
        np.float32, 64, elements=st.floats(width=32, min_value=-(2.0**99), max_value=2.0**99)
    )
)
def test_relative_length_agrees_with_double_precision(a):
    b = np.roll(a, 1)
    found = numeric.measure(a.tobytes(), b.tobytes(), "float32", ToleranceRule(rtol=1e-3))
    one, two = a.astype(np.float64), b.astype(np.float64)
    size = np.linalg.norm(one)
    expected = np.linalg.norm(one - two) / size if size else 0.0
    assert found.rel_l2 == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_value_on_the_limit_passes_and_the_next_one_does_not(dtype):
    limit = 1e-3
    kind = np.dtype(dtype).type
    inside = kind(limit) if float(kind(limit)) <= limit else np.nextafter(kind(limit), kind(0))
    b = np.array([inside, np.nextafter(inside, kind(1))], dtype)
    a = np.zeros(2, dtype)
    found = numeric.measure(a.tobytes(), b.tobytes(), dtype, ToleranceRule(atol=limit))
    assert (found.differing, found.beyond) == (2, 1)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("pair", [(0.0, -0.0), (math.nan, -math.nan)])
def test_other_bits_are_never_identical_and_pass_only_under_a_rule(dtype, pair):
    one, two = (Tensor.of(np.array([v], dtype)) for v in pair)
    strict = compare_tensors(one, two, "w", "w", Tolerance())
    assert strict.status == Status.DIFFERENT
    rule = Tolerance((ToleranceRule("w", atol=1e-9),))
    assert compare_tensors(one, two, "w", "w", rule).status == Status.WITHIN_TOLERANCE
    elsewhere = Tolerance((ToleranceRule("v", atol=1e-9),))
    assert compare_tensors(one, two, "w", "w", elsewhere).status == Status.DIFFERENT


def test_one_ulp_late_in_a_large_tensor_is_in_the_histogram():
    a = np.zeros(1 << 25, np.float32)
    b = a.copy()
    b[-1] = np.nextafter(np.float32(0), np.float32(1))
    found = numeric.measure(a.data, b.data, "float32", ToleranceRule())
    assert (found.ulps.max, found.first, found.ulps.histogram()) == (1, a.size - 1, (a.size - 1, 1))


def test_a_whole_number_that_no_float_holds_is_kept_as_it_is():
    large = [2**53 + 1, 0.5]
    assert numbers(large) is large
    assert numbers([2**53, 0.5]).dtype == "float64"
    assert numbers([2**53 + 1, 1]).dtype == "int64"
