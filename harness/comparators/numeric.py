"""How far two buffers of numbers are apart: one pass, chunk by chunk, in O(chunk) memory.

Rules, the same for every type: NaN equals NaN whatever its payload, an infinity equals only
itself, -0.0 and 0.0 are 0 apart; all of that only under a tolerance: under a rule of zero every
differing bit counts. ULP are reported and never decide: exact where few elements of a chunk differ,
of every n-th element, counted n times, where many do.
"""

from __future__ import annotations

import math
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from harness.model import ToleranceRule

CHUNK = 1 << 18  # elements: 1 MiB of float32, which stays in the second-level cache
JOB = 2 * CHUNK  # elements that one thread takes at a time
FEW = 1 << 12  # where more elements of a chunk differ, ULP are taken of every n-th one
MARGIN = 1e-6  # more than single precision loses in the four steps to a limit
FAINT = 1e-30  # below it, sums of squares lose digits in single precision
FINE = 16  # ULP buckets per power of two
FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
# name -> exponent bits, mantissa bits, bias, infinities, sign's own NaN (the fnuz types)
EIGHT = {
    "float8_e4m3fn": (4, 3, 7, False, False),
    "float8_e5m2": (5, 2, 15, True, False),
    "float8_e4m3fnuz": (4, 3, 8, False, True),
    "float8_e5m2fnuz": (5, 2, 16, False, True),
}
SMALL = {"int8", "uint8", "int16", "uint16", "bool"}


@dataclass
class Sums:
    """What a pass over two buffers adds up."""

    differing: int = 0
    beyond: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    gap: float = 0.0
    norm: float = 0.0
    first: int | None = None
    ulp_max: int = 0
    ulps: np.ndarray = field(default_factory=lambda: np.zeros(66 * FINE, np.int64))

    def merge(self, other: Sums) -> None:
        """Add what a later part of the same buffers came to."""
        self.differing += other.differing
        self.beyond += other.beyond
        self.max_abs = max(self.max_abs, other.max_abs)
        self.max_rel = max(self.max_rel, other.max_rel)
        self.gap += other.gap
        self.norm += other.norm
        self.first = other.first if self.first is None else self.first
        self.ulp_max = max(self.ulp_max, other.ulp_max)
        self.ulps += other.ulps

    @property
    def rel_l2(self) -> float:
        """Return the length of the difference over the length of the recorded side."""
        if self.norm:
            return math.sqrt(self.gap / self.norm)
        return math.inf if self.gap else 0.0

    def percentile(self, share: float) -> float | None:
        """Return the ULP distance that a share of the elements does not exceed (6 % steps)."""
        total = int(self.ulps.sum())
        if not total:
            return None
        bucket = int(np.searchsorted(np.cumsum(self.ulps), share * total))
        power, part = divmod(bucket, FINE)
        return 0.0 if not power else math.ldexp(0.5 + part / (2 * FINE), power)

    def histogram(self) -> tuple[int, ...]:
        """Return counts by power of two of ULP, equal elements at [0]."""
        counts = self.ulps.reshape(-1, FINE).sum(axis=1)
        return tuple(int(n) for n in np.trim_zeros(counts, "b"))


def measure(a: Any, b: Any, dtype: str, rule: ToleranceRule) -> Sums:
    """Return the distances of two buffers of one type and equal length."""
    left, right = stored(a, dtype), stored(b, dtype)
    starts = range(0, left.size, JOB)

    def job(start: int) -> Sums:
        kernel = _Kernel(dtype, rule)
        end = min(start + JOB, left.size)
        with np.errstate(all="ignore"):
            for at in range(start, end, CHUNK):
                stop = min(at + CHUNK, end)
                kernel.add(left[at:stop], right[at:stop], at)
        return kernel.sums

    total = Sums()
    for found in map(job, starts) if len(starts) < 2 else _pool().map(job, starts):
        total.merge(found)
    return total


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(4, os.cpu_count() or 1), "distances")


class _Buffers(threading.local):
    """The buffers of one thread, which every chunk writes into again."""

    def __init__(self) -> None:
        self.mask = np.empty(CHUNK, bool)
        self.gap, self.size, self.work, *self.sides = (
            np.empty(CHUNK, np.float32) for _ in range(5)
        )


BUFFERS = _Buffers()


def stored(data: Any, dtype: str) -> Any:
    """Return a buffer as the elements that lie in it; types numpy lacks as their bits."""
    if dtype == "bfloat16":
        return np.frombuffer(data, "<u2")
    try:
        return np.frombuffer(data, np.dtype(dtype))
    except TypeError:
        return np.frombuffer(data, np.uint8)


def same(a: Any, b: Any) -> bool:
    """Return whether two buffers have the same bytes."""
    left, right = np.frombuffer(a, np.uint8), np.frombuffer(b, np.uint8)
    if left.size != right.size:
        return False
    step = 4 * CHUNK
    mask = np.empty(min(step, left.size), bool)
    for at in range(0, left.size, step):
        one, two = left[at : at + step], right[at : at + step]
        if np.not_equal(one, two, out=mask[: one.size]).any():
            return False
    return True


class _Kernel:
    """One thread's buffers and sums."""

    def __init__(self, dtype: str, rule: ToleranceRule) -> None:
        self.dtype, self.rule = dtype, rule
        self.sums = Sums()
        self.zero = not rule.rtol and not rule.atol
        self.narrow = dtype in {"float32", "float16", "bfloat16", *EIGHT, *SMALL}
        limits = [limit for limit in (rule.rtol, rule.atol) if limit]
        self.odd = not all(FAINT < limit < 1 / FAINT for limit in limits)
        self.mask, self.sides = BUFFERS.mask, BUFFERS.sides
        self.gap, self.size, self.work = BUFFERS.gap, BUFFERS.size, BUFFERS.work

    def add(self, a: np.ndarray, b: np.ndarray, at: int) -> None:
        """Add one chunk that starts at element `at`."""
        differs = self._differs(a, b)
        count = int(np.count_nonzero(differs))
        if count and self.sums.first is None:
            self.sums.first = at + int(differs.argmax())
        self.sums.differing += count
        if self.zero:
            self.sums.beyond += count
        self._ulps(a, b, differs, count)
        if self.narrow:
            self._narrow(a, b, count)
        else:
            self._wide(a, b, count)

    def _differs(self, a: np.ndarray, b: np.ndarray) -> Any:
        unsigned = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}.get(a.dtype.itemsize)
        if unsigned:
            found = self.mask[: a.size]
            return np.not_equal(a.view(unsigned), b.view(unsigned), out=found)
        shape = (a.size, a.dtype.itemsize)
        return (a.view(np.uint8).reshape(shape) != b.view(np.uint8).reshape(shape)).any(axis=1)

    def _float32(self, chunk: np.ndarray, side: int) -> Any:
        """Return a chunk as float32, which holds every value of the narrow types."""
        if self.dtype == "float32":
            return chunk
        out = self.sides[side][: chunk.size]
        if self.dtype == "bfloat16":
            bits = out.view(np.uint32)
            np.copyto(bits, chunk)
            np.left_shift(bits, 16, out=bits)
        elif self.dtype in EIGHT:
            np.take(decoded(self.dtype), chunk.view(np.uint8), out=out)
        else:
            np.copyto(out, chunk)
        return out

    def _narrow(self, a: np.ndarray, b: np.ndarray, count: int) -> None:
        one = self._float32(a, 0)
        norm = float(np.einsum("i,i->", one, one))
        if self.odd or not math.isfinite(norm) or (count and norm < FAINT):
            self._exact(one, self._float32(b, 1), count)
            return
        if not count:
            self.sums.norm += norm
            return
        two = self._float32(b, 1)
        gap = np.subtract(one, two, out=self.gap[: one.size])
        np.abs(gap, out=gap)
        largest = float(gap.max())
        squares = float(np.einsum("i,i->", gap, gap)) if math.isfinite(largest) else math.inf
        if not FAINT < squares < math.inf:
            self._exact(one, two, count)
            return
        self.sums.norm += norm
        self.sums.gap += squares
        self.sums.max_abs = max(self.sums.max_abs, largest)
        size = np.abs(one, out=self.size[: one.size])
        self.sums.max_rel = max(self.sums.max_rel, self._relative(gap, size))
        if not self.zero:
            self.sums.beyond += self._beyond(one, two, gap, size)

    def _relative(self, gap: np.ndarray, size: np.ndarray) -> float:
        """Return the largest relative distance; a recorded zero has none."""
        work = self.work[: gap.size]
        np.divide(gap, size, out=work)
        largest = float(work.max())
        if math.isfinite(largest):
            return largest
        if (np.isinf(work) & (size > 0)).any():  # overflows single precision
            wide = np.zeros(gap.size)
            return float(np.divide(gap, size, out=wide, where=size > 0, dtype=np.float64).max())
        return float(work.max(initial=0.0, where=np.isfinite(work)))

    def _beyond(self, one: Any, two: Any, gap: np.ndarray, size: np.ndarray) -> int:
        """Return how many elements are beyond the rule: single precision for what is clearly on
        one side of it, double for the rest. The sizes are used up."""
        rule = self.rule
        limit = np.multiply(size, np.float32(rule.rtol * (1 - MARGIN)), out=size)
        np.add(limit, np.float32(rule.atol * (1 - MARGIN)), out=limit)
        flagged = np.greater(gap, limit, out=self.mask[: gap.size])
        count = int(np.count_nonzero(flagged))
        if not count:
            return 0
        surely = np.multiply(limit, np.float32(1 + 3 * MARGIN), out=self.work[: gap.size])
        if int(np.count_nonzero(gap > surely)) == count:
            return count
        wide, other = one[flagged].astype(np.float64), two[flagged].astype(np.float64)
        allowed = rule.atol + rule.rtol * np.abs(wide)
        return int(np.count_nonzero(np.abs(wide - other) > allowed))

    def _wide(self, a: np.ndarray, b: np.ndarray, count: int) -> None:
        if a.dtype.kind in "iu":
            high, low = np.maximum(a, b), np.minimum(a, b)
            unsigned = np.dtype(f"u{a.dtype.itemsize}")
            gap = np.subtract(high.view(unsigned), low.view(unsigned)).astype(np.float64)
            self._add(gap, np.abs(a.astype(np.float64)))
        elif a.dtype.kind in "fc" and self.dtype != "bfloat16":
            self._exact(a, b, count)
        elif not self.zero:  # a type that has no distances: its bits decide
            self.sums.beyond += count

    def _exact(self, a: np.ndarray, b: np.ndarray, count: int) -> None:
        """Add a chunk in double precision, with every rule for what is not finite."""
        wide = np.complex128 if a.dtype.kind == "c" else np.float64
        one, two = a.astype(wide), b.astype(wide)
        gap = np.abs(one - two)
        gap = np.where((one == two) | (np.isnan(one) & np.isnan(two)), 0.0, gap)
        self._add(np.where(np.isnan(gap), np.inf, gap), np.abs(one))

    def _add(self, gap: np.ndarray, size: np.ndarray) -> None:
        sums, finite = self.sums, np.isfinite(size)
        if not self.zero:
            allowed = np.where(finite, self.rule.atol + self.rule.rtol * size, 0.0)
            sums.beyond += int(np.count_nonzero(~(gap <= allowed)))
        sums.max_abs = max(sums.max_abs, float(gap.max(initial=0.0)))
        relative = np.divide(gap, size, out=np.zeros_like(gap), where=(size > 0) & finite)
        sums.max_rel = max(sums.max_rel, float(relative.max(initial=0.0)))
        sums.gap += float((gap * gap).sum())
        sums.norm += float((size * size).sum(where=finite))

    def _ulps(self, a: np.ndarray, b: np.ndarray, differs: np.ndarray, count: int) -> None:
        """Add the distances in units of the last place, of floats of the type itself."""
        width = FLOATS.get(self.dtype) or (1 if self.dtype in EIGHT else 0)
        if not width:
            return
        step = 1
        if count <= FEW:
            self.sums.ulps[0] += a.size - count
            a, b = a[differs], b[differs]
        else:
            step = max(1, a.size // FEW)
            a, b = a[::step], b[::step]
        one, two = _ordered(a, width), _ordered(b, width)
        apart = np.maximum(one, two).view(np.uint64) - np.minimum(one, two).view(np.uint64)
        apart = apart[~(self._nan(a) | self._nan(b))]
        self.sums.ulp_max = max(self.sums.ulp_max, int(apart.max(initial=0)))
        part, power = np.frexp(apart.astype(np.float64))
        bucket = power * FINE + np.maximum((part - 0.5) * 2 * FINE, 0).astype(np.int32)
        self.sums.ulps += step * np.bincount(bucket, minlength=self.sums.ulps.size)

    def _nan(self, chunk: np.ndarray) -> Any:
        if self.dtype == "float64":
            return np.isnan(chunk)
        return np.isnan(self._float32(chunk, 0))


def _ordered(chunk: np.ndarray, width: int) -> Any:
    """Return the bits of floats as integers in the order of the numbers, both zeros at 0."""
    bits = chunk.view(f"<i{width}").astype(np.int64)
    return np.where(bits < 0, -(1 << (8 * width - 1)) - bits, bits)


@cache
def decoded(dtype: str) -> Any:
    """Return the 256 values of an 8-bit float type. Source: the OCP and the fnuz papers."""
    exponents, mantissas, bias, infinities, own_nan = EIGHT[dtype]
    values = np.empty(256, np.float32)
    top = (1 << exponents) - 1
    for bits in range(256):
        sign = -1.0 if bits >> 7 else 1.0
        power, part = (bits >> mantissas) & top, bits & ((1 << mantissas) - 1)
        scale = math.ldexp(1.0, (power or 1) - bias - mantissas)
        value = sign * scale * (part + (1 << mantissas if power else 0))
        if own_nan:
            value = math.nan if bits == 0x80 else value
        elif power == top and infinities:
            value = math.nan if part else sign * math.inf
        elif bits & 0x7F == 0x7F:
            value = math.nan
        values[bits] = value
    return values
