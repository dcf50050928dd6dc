"""Distances: every type, every special value, the same answer however the buffer is cut."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.comparators import numeric
from harness.model import ToleranceRule

EXACT = ToleranceRule()
LOOSE = ToleranceRule(rtol=1e-5, atol=1e-8)


def measured(a, b, rule=LOOSE, dtype=None):
    a, b = np.asarray(a), np.asarray(b)
    return numeric.measure(a.tobytes(), b.tobytes(), dtype or str(a.dtype), rule)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_one_ulp_is_one_element_and_one_ulp(dtype):
    a = np.linspace(1, 2, 1000, dtype=dtype)
    b = a.copy()
    b[7] = np.nextafter(b[7], np.array(9, dtype))
    found = measured(a, b, EXACT)
    assert (found.differing, found.beyond, found.first, found.ulps.max) == (1, 1, 7, 1)
    assert found.ulps.histogram() == (999, 1)
    assert found.max_abs == float(b[7]) - float(a[7])
    assert measured(a, b, ToleranceRule(rtol=1e-2)).beyond == 0


@pytest.mark.parametrize(
    "name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
)
def test_types_numpy_lacks_count_as_the_reference_does(name):
    kind = np.dtype(getattr(ml_dtypes, name))
    bits = np.arange(256, dtype=np.uint8) if kind.itemsize == 1 else np.arange(65536, dtype="<u2")
    with np.errstate(invalid="ignore"):
        values = bits.view(kind).astype(np.float64)
    numbers = bits[np.isfinite(values)]
    a, b = numbers, np.roll(numbers, 1)
    one, two = a.view(kind).astype(np.float64), b.view(kind).astype(np.float64)
    found = measured(a, b, LOOSE, name)
    assert found.max_abs == pytest.approx(np.abs(one - two).max(), rel=1e-6)
    assert found.beyond == np.count_nonzero(np.abs(one - two) > 1e-8 + 1e-5 * np.abs(one))
    rotten = bits[np.isnan(values)]
    assert measured(rotten, np.roll(rotten, 1), LOOSE, name).beyond == 0
    assert measured(rotten[:1], numbers[:1], LOOSE, name).beyond == 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_special_values(dtype):
    nan, inf = math.nan, math.inf
    a = np.array([nan, nan, 1.0, inf, inf, 0.0, -0.0, 0.0], dtype)
    b = np.array([nan, 1.0, nan, inf, -inf, -0.0, 0.0, 1e-4], dtype)
    found = measured(a, b, ToleranceRule(rtol=1e-3, atol=1e-6))
    assert found.beyond == 5 - 1  # NaN against a number twice, inf against -inf, 0 against 1e-4
    assert found.max_abs == inf
    assert found.first == 1
    exact = measured(a, b, EXACT)
    assert exact.beyond == exact.differing == 6  # the two zeros differ in bits


def test_nan_payloads_are_bits_without_a_tolerance_and_equal_with_one():
    a, b = np.array([0x7FC00000], "<u4"), np.array([0x7FC00001], "<u4")
    assert measured(a, b, EXACT, "float32").beyond == 1
    assert measured(a, b, LOOSE, "float32").beyond == 0


def test_complex_numbers_differ_by_their_distance_not_by_their_length():
    found = measured(np.array([1 + 1j], np.complex64), np.array([1 - 1j], np.complex64))
    assert (found.beyond, found.max_abs) == (1, 2.0)


def test_integers_beyond_double_precision_are_told_apart():
    a, b = np.array([2**62, -(2**63)], np.int64), np.array([2**62 + 1, 2**63 - 1], np.int64)
    found = measured(a, b, ToleranceRule(atol=0.5))
    assert found.beyond == 2
    assert found.max_abs == 2.0**64
    assert measured(a[:1], b[:1], ToleranceRule(atol=1.0)).beyond == 0


def test_unsigned_and_small_integers_do_not_wrap():
    for dtype in ("uint8", "uint16", "uint32", "uint64", "int8"):
        found = measured(np.array([0], dtype), np.array([100], dtype))
        assert found.max_abs == 100


def test_an_unknown_type_is_decided_by_its_bits():
    found = numeric.measure(b"\0\1\2", b"\0\1\3", "float4_of_tomorrow", LOOSE)
    assert (found.differing, found.beyond) == (1, 1)


def test_floats_that_overflow_single_precision_are_measured_in_double():
    a, b = np.array([3e38, 1.0], np.float32), np.array([-3e38, 1.0], np.float32)
    assert measured(a, b).max_abs == pytest.approx(6e38)


def test_large_buffers_are_cut_without_a_trace():
    rng = np.random.default_rng(0)
    a = rng.standard_normal(numeric.JOB * 2 + 12345, dtype=np.float32)
    b = a * np.float32(1 + 1e-4)
    found = measured(a, b, ToleranceRule(rtol=5e-5, atol=1e-5))
    gap = np.abs(a - b)
    assert found.max_abs == gap.max()
    limit = np.abs(a) * np.float32(5e-5) + np.float32(1e-5)
    assert found.beyond == np.count_nonzero(gap > limit)
    wide = a.astype(np.float64), b.astype(np.float64)
    expected = np.linalg.norm(wide[0] - wide[1]) / np.linalg.norm(wide[0])
    assert found.rel_l2 == pytest.approx(expected, rel=1e-4)
    assert sum(found.ulps.histogram()) == a.size


def test_percentiles_of_ulp():
    a = np.ones(1000, np.float32)
    b = (a.view("<i4") + np.arange(1000, dtype="<i4")).view(np.float32)
    found = measured(a, b)
    assert found.ulps.max == 999
    assert found.ulps.percentiles(0.5, 0.99) == pytest.approx((500, 990), rel=0.07)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=16, max_size=64), st.binary(min_size=16, max_size=64))
def test_any_bits_agree_with_a_plain_reading(left, right):
    size = min(len(left), len(right)) // 8 * 8
    for dtype in ("float64", "float32", "float16", "int64", "uint8", "complex64"):
        a, b = (np.frombuffer(side[:size], dtype) for side in (left, right))
        rule = ToleranceRule(rtol=0.25, atol=0.5)
        found = numeric.measure(left[:size], right[:size], dtype, rule)
        assert found.differing == sum(x.tobytes() != y.tobytes() for x, y in zip(a, b, strict=True))
        assert found.beyond <= found.differing
        assert numeric.measure(left[:size], left[:size], dtype, rule).beyond == 0
