"""Every path through the kernel against a plain reading of whole arrays in double precision."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.comparators import kernel, numeric, threads
from harness.model import ToleranceRule

KINDS = {
    "float64": "f8", "float32": "f4", "float16": "f2", "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn, "int8": "i1", "uint16": "u2",
}  # fmt: skip
RULES = [
    ToleranceRule(), ToleranceRule(rtol=1e-3), ToleranceRule(atol=1e-3),
    ToleranceRule(rtol=2e-2, atol=1e-4), ToleranceRule(rtol=1e-6, atol=1e-9),
]  # fmt: skip
PLANTED = {
    "nothing": [], "zeros": [(0.0, 0.0), (0.0, 1e-4)], "signs": [(0.0, -0.0), (-0.0, -0.0)],
    "nan": [(np.nan, np.nan), (1.0, np.nan)], "inf": [(np.inf, np.inf), (np.inf, 1.0)],
    "huge": [(6e4, -6e4), (5e4, 5.01e4)], "faint": [(1e-7, 3e-7), (6e-8, 0.0)],
}  # fmt: skip

WHOLE = {"int8", "uint16"}
CASES = [
    (name, planted)
    for name in KINDS
    for planted in PLANTED
    if name not in WHOLE or planted not in {"nan", "inf", "huge"}
]


def reading(a, b, rule):
    """Return (beyond, max abs, max rel, rel l2) in double precision."""
    with np.errstate(all="ignore"):
        gap = np.abs(a - b)
        gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, gap)
        gap = np.where(np.isnan(gap), np.inf, gap)
        size, finite = np.abs(a), np.isfinite(a)
        allowed = np.where(finite, rule.atol + rule.rtol * size, 0.0)
        relative = np.where((size > 0) & finite, gap / size, 0.0)
        norm = float((size[finite] ** 2).sum())
        length = np.sqrt(np.divide((gap**2).sum(), norm))
    return int((~(gap <= allowed)).sum()), gap.max(), relative.max(), length


@pytest.fixture(params=["numpy", "compiled"], autouse=True)
def path(request, monkeypatch):
    """Both the numpy calls and the compiled loops; in use a large buffer has the latter."""
    monkeypatch.setattr(numeric, "LARGE", 0 if request.param == "compiled" else 1 << 62)
    assert numeric.compiled_loops() is not None
    return request.param


@pytest.mark.parametrize("size", [4096, 4097])
@pytest.mark.parametrize(("name", "planted"), CASES)
def test_special_values_among_many_others(name, planted, size):
    rng = np.random.default_rng(size)
    whole = name in WHOLE
    values = rng.integers(1, 100, size).astype("f8") if whole else rng.standard_normal(size)
    for share, step in ((0.0, 0), (1.0, 1e-4), (1.0, 3e-2), (0.01, 1e-2)):
        moved = values * (1 + step * (rng.random(size) < share))
        sides = [values.copy(), np.round(moved) if whole else moved]
        for at, pair in enumerate(PLANTED[planted]):
            sides[0][7 + 90 * at], sides[1][7 + 90 * at] = pair
        with np.errstate(all="ignore"):
            a, b = (side.astype(KINDS[name]) for side in sides)
        check(name, a, b)


def check(name, a, b):
    wide = [side.astype(np.float64) for side in (a, b)]
    words = [side.view(f"u{side.itemsize}") for side in (a, b)]
    differs = words[0] != words[1]
    for rule in RULES:
        # both as it lies in memory, and as a member of a zip may lie
        for left, right in ((a.tobytes(), b.tobytes()), map(moved_by_one, (a, b))):
            found = numeric.measure(left, right, name, rule)
            beyond, largest, relative, length = reading(*wide, rule)
            assert found.differing == differs.sum()
            assert found.first == (differs.argmax() if differs.any() else None)
            zero = not rule.rtol and not rule.atol
            assert found.beyond == (differs.sum() if zero else beyond)
            assert found.max_abs == pytest.approx(largest, rel=1e-6)
            assert found.max_rel == pytest.approx(relative, rel=1e-6)
            assert found.rel_l2 == pytest.approx(length, rel=1e-4)


def moved_by_one(array):
    return memoryview(b"\0" + array.tobytes())[1:]


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16", "float64"])
def test_threads_change_no_digit(name, monkeypatch):
    rng = np.random.default_rng(1)
    size = 2 * kernel.JOB + 4097
    a = rng.standard_normal(size).astype(KINDS[name])
    b = (a.astype("f8") * (1 + rng.standard_normal(size) * 1e-3)).astype(KINDS[name])
    b[: kernel.JOB] = a[: kernel.JOB]
    rule = ToleranceRule(rtol=1e-3)
    found = []
    for cores in (1, 2, 2, 4):
        monkeypatch.setattr(threads, "cores", lambda cores=cores: cores)
        sums = numeric.measure(a.tobytes(), b.tobytes(), name, rule)
        shown = sums.differing, sums.beyond, sums.max_abs, sums.max_rel, sums.rel_l2, sums.first
        found.append((*shown, sums.ulps.max, sums.ulps.histogram(), sums.ulps.sampled))
    assert found[1:] == found[:1] * 3
    assert found[0][-1] is True
    assert sum(found[0][-2]) == size


def test_ulps_of_few_differing_elements_are_exact_and_said_to_be():
    a = np.ones(kernel.JOB + 1, "f4")
    b = a.copy()
    b[[3, kernel.JOB]] += np.float32(1e-3)
    found = numeric.measure(a.data, b.data, "float32", ToleranceRule())
    assert not found.ulps.sampled
    assert found.ulps.histogram()[0] == a.size - 2


def test_many_beyond_and_some_on_the_limit_are_told_apart_in_double_precision():
    size = 1 << 14
    a = np.linspace(1, 2, size, dtype="f4")
    steps = np.arange(size) % 5
    b = (a.astype("f8") * (1 + 1e-3 * (0.999999 + 5e-7 * steps))).astype("f4")
    rule = ToleranceRule(rtol=1e-3)
    found = numeric.measure(a.data, b.data, "float32", rule)
    expected = np.abs(a.astype("f8") - b.astype("f8")) > 1e-3 * a.astype("f8")
    assert 0 < expected.sum() < size
    assert found.beyond == expected.sum()


def test_where_numba_is_missing_or_has_nowhere_to_write_numpy_does_it(monkeypatch):
    def refuse(name):
        raise RuntimeError("cannot cache function: no locator available")

    a, b = np.ones(8, "f4"), np.full(8, 1.5, "f4")
    monkeypatch.setattr(numeric, "import_module", refuse)
    numeric.compiled_loops.cache_clear()
    try:
        found = numeric.measure(a.data, b.data, "float32", ToleranceRule(atol=0.1))
    finally:
        numeric.compiled_loops.cache_clear()
    assert (found.differing, found.beyond, found.max_abs) == (8, 8, 0.5)


@pytest.mark.parametrize("name", ["float32", "float64", "float16", "bfloat16"])
def test_one_unit_of_the_last_place_in_a_large_buffer(name):
    a = np.random.default_rng(0).standard_normal(1 << 18).astype(KINDS[name])
    b = a.copy()
    b.view(f"u{b.itemsize}")[200_001] ^= 1
    found = numeric.measure(a.tobytes(), b.tobytes(), name, ToleranceRule())
    assert (found.differing, found.beyond, found.first) == (1, 1, 200_001)
    assert found.ulps.max == 1
    assert found.max_abs > 0


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["float32", "float64", "float16", "bfloat16"]),
    st.sampled_from(RULES),
    st.integers(1, 5000),
    st.integers(0, 1 << 32),
    st.floats(0, 1),
)
def test_any_bits_are_counted_as_a_plain_reading_counts_them(name, rule, size, seed, share):
    rng = np.random.default_rng(seed)
    word = f"u{np.dtype(KINDS[name]).itemsize}"
    sides = [rng.integers(0, np.iinfo(word).max, size, word, endpoint=True) for _ in range(2)]
    sides[1] = np.where(rng.random(size) < share, sides[1], sides[0])
    found = numeric.measure(*(side.tobytes() for side in sides), name, rule)
    with np.errstate(all="ignore"):
        wide = [side.view(KINDS[name]).astype(np.float64) for side in sides]
    zero = not rule.rtol and not rule.atol
    differing = int((sides[0] != sides[1]).sum())
    assert found.differing == differing
    assert found.beyond == (differing if zero else reading(*wide, rule)[0])
