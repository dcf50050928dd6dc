"""One thread's pass over chunks of two buffers of numbers, in buffers that are used again.

Few numpy calls, each over as much as the second-level cache holds: every call costs the
interpreter's lock, every byte beyond the cache the memory's speed. What is clear in the precision
computed in is decided there; the rest, and all that is not finite, in double precision.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.comparators.ulps import Sample, Ulps, counted
from harness.comparators.widening import DOUBTFUL, NARROW, plain, single
from harness.model import ToleranceRule

CHUNK = 1 << 17  # elements of 4 bytes: half a MiB each of two sides and of two results
JOB = 4 * CHUNK  # elements that one thread takes at a time
FEW = 1 << 12  # where more elements of a job differ, ULP are of a sample
MARGIN = 1e-6  # more than single precision loses in the four steps to a limit
# below it, sums of squares lose digits; by the width of what is computed in
FAINT = {4: 1e-30, 8: 1e-290}
STAGGER = 1024  # bytes: buffers at the same place of a page would wait for each other


@dataclass
class Sums:
    """What a pass over two buffers adds up; lengths by job, so that threads change no digit."""

    differing: int = 0
    beyond: int = 0
    max_abs: float = 0.0
    max_rel: float = 0.0
    gaps: list[float] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    first: int | None = None
    ulps: Ulps = field(default_factory=Ulps)

    def merge(self, other: Sums) -> None:
        """Add what other jobs on the same buffers came to."""
        self.differing += other.differing
        self.beyond += other.beyond
        self.max_abs = max(self.max_abs, other.max_abs)
        self.max_rel = max(self.max_rel, other.max_rel)
        self.gaps += other.gaps
        self.norms += other.norms
        known = [f for f in (self.first, other.first) if f is not None]
        self.first = min(known, default=None)
        self.ulps.merge(other.ulps)

    @property
    def rel_l2(self) -> float:
        """Return the length of the difference over the length of the recorded side."""
        gap, norm = _total(self.gaps), _total(self.norms)
        if norm:
            return math.sqrt(gap / norm) if gap < math.inf else math.inf
        return math.inf if gap else 0.0


def _total(parts: list[float]) -> float:
    try:
        return math.fsum(parts)
    except OverflowError:
        return math.inf


class _Buffers(threading.local):
    """The buffers of one thread, which every chunk writes into again."""

    def __init__(self) -> None:
        step = 4 * CHUNK + STAGGER
        room = np.empty(6 * step + 4096, np.uint8)
        start = -room.ctypes.data % 4096
        parts = [room[start + n * step :][: 4 * CHUNK] for n in range(6)]
        self.gap, self.work, self.raw, self.sides = parts[0], parts[1], parts[2:4], parts[4:]
        self.mask = np.empty(CHUNK, bool)


BUFFERS = _Buffers()


def _astray(side: np.ndarray) -> bool:
    """Return whether elements, and pairs of halves, lie where vector instructions are slow."""
    return not side.flags.aligned or (side.itemsize == 2 and side.ctypes.data % 4 != 0)


class Kernel:
    """One thread's sums under one rule for one type."""

    def __init__(self, dtype: str, rule: ToleranceRule, loops: Any = None) -> None:
        self.dtype, self.rule, self.sums = dtype, rule, Sums()
        self.loops = loops  # the compiled ones, for a type they know
        self.zero = not rule.rtol and not rule.atol
        self.many = False  # whether many elements of the last chunk were beyond the rule
        self.fast = dtype in NARROW or dtype == "float64"
        self.kind = np.dtype("f8" if dtype == "float64" else "f4")
        self.chunk = 4 * CHUNK // self.kind.itemsize
        self.faint = FAINT[self.kind.itemsize]
        limits = [limit for limit in (rule.rtol, rule.atol) if limit]
        self.odd = not all(FAINT[4] < limit < 1 / FAINT[4] for limit in limits)
        self.mask, self.raw = BUFFERS.mask, BUFFERS.raw
        self.gap, self.work = BUFFERS.gap.view(self.kind), BUFFERS.work.view(self.kind)
        self.sides = [side.view(np.float32) for side in BUFFERS.sides]

    def job(self, a: np.ndarray, b: np.ndarray, start: int, end: int) -> None:
        """Add the elements from `start` to `end`."""
        sums, before, known = self.sums, self.sums.differing, self.sums.first is not None
        sums.gaps.append(0.0)
        sums.norms.append(0.0)
        sample = Sample(a.dtype, end - start) if counted(self.dtype) else None
        astray = _astray(a) or _astray(b)
        for at in range(start, end, self.chunk):
            stop = min(at + self.chunk, end)
            one, two = a[at:stop], b[at:stop]
            if astray:
                one, two = self._aligned(one, 0), self._aligned(two, 1)
            count = self._add(one, two)
            if sample:
                sample.take(one, two, at - start)
            sums.differing += count
            if count and not known:
                known, sums.first = True, at + int(self._differs(one, two).argmax())
        if sample:
            self._ulps(a[start:end], b[start:end], sums.differing - before, sample)

    def total(self) -> Sums:
        """Return what all jobs came to."""
        self.sums.ulps.settle(self.dtype)
        return self.sums

    def _aligned(self, chunk: np.ndarray, side: int) -> Any:
        """Return a chunk where vector instructions read it; members of a zip lie anywhere."""
        size = chunk.nbytes
        if size > self.raw[side].size:  # a type wider than eight bytes
            return chunk.copy()
        np.copyto(self.raw[side][:size], chunk.view(np.uint8))
        return self.raw[side][:size].view(chunk.dtype)

    def _add(self, a: np.ndarray, b: np.ndarray) -> int:
        """Add one chunk, and return how many of its elements differ."""
        count: int | None = None
        if self.loops:
            count = self._at_once(a, b)
        elif self.fast and not self.odd:
            count = self._quickly(a, b)
        if count is not None:
            return count
        count = int(np.count_nonzero(self._differs(a, b)))
        if self.zero:
            self.sums.beyond += count
        self._carefully(a, b, count)
        return count

    def _differs(self, a: np.ndarray, b: np.ndarray) -> Any:
        unsigned = {1: "u1", 2: "<u2", 4: "<u4", 8: "<u8"}.get(a.dtype.itemsize)
        if unsigned:
            found = self.mask[: a.size]
            return np.not_equal(a.view(unsigned), b.view(unsigned), out=found)
        shape = (a.size, a.dtype.itemsize)
        return (a.view(np.uint8).reshape(shape) != b.view(np.uint8).reshape(shape)).any(axis=1)

    def _numbers(self, chunk: np.ndarray, side: int) -> Any:
        if self.dtype in {"float32", "float64"}:
            return chunk
        return single(chunk, self.dtype, self.sides[side])

    def _at_once(self, a: np.ndarray, b: np.ndarray) -> int | None:
        """Add a chunk of finite numbers by compiled loops; None where some are not finite."""
        found = self.loops.measure(a, b, self.dtype, self.rule.rtol, self.rule.atol)
        if not math.isfinite(found.norm + found.squares):
            return None
        self._note(found.norm, found.squares, found.max_abs, found.max_rel)
        self.sums.beyond += int(found.differing if self.zero else found.beyond)
        return int(found.differing)

    def _quickly(self, a: np.ndarray, b: np.ndarray) -> int | None:
        """Add a chunk whose numbers are finite and neither faint nor huge; None for others."""
        one, two = self._numbers(a, 0), self._numbers(b, 1)
        gap = np.subtract(one, two, out=self.gap[: one.size])
        count = int(np.count_nonzero(gap.view(f"i{gap.itemsize}")))
        norm = float(np.dot(one, one))
        if not math.isfinite(norm) or (self.dtype == "float16" and norm >= DOUBTFUL):
            return None
        if not count and not np.count_nonzero(self._differs(a, b)):
            self.sums.norms[-1] += norm
            return 0
        largest = max(float(np.maximum.reduce(gap)), -float(np.minimum.reduce(gap)))
        if not largest < math.inf or norm < self.faint:
            return None
        squares = float(np.dot(gap, gap))
        if not self.faint < squares < (DOUBTFUL if self.dtype == "float16" else math.inf):
            return None
        work = np.divide(gap, one, out=self.work[: one.size])
        relative = max(float(np.maximum.reduce(work)), -float(np.minimum.reduce(work)))
        whole = math.isfinite(relative)  # no recorded zero, which has no relative distance
        if not whole:  # and beside which another zero may stand, equal but not in its bits
            count = int(np.count_nonzero(self._differs(a, b)))
        self._note(norm, squares, largest, relative if whole else self._relative(gap, one))
        self.sums.beyond += count if self.zero else self._beyond(one, two, largest, relative)
        return count

    def _note(self, norm: float, squares: float, largest: float, relative: float) -> None:
        self.sums.norms[-1] += norm
        self.sums.gaps[-1] += squares
        self.sums.max_abs = max(self.sums.max_abs, largest)
        self.sums.max_rel = max(self.sums.max_rel, relative)

    def _relative(self, gap: np.ndarray, one: np.ndarray) -> float:
        """Return the largest relative distance where a recorded zero has none, or where one
        overflows."""
        work = self.work[: gap.size]
        finite = np.isfinite(work)
        largest = float(np.abs(work).max(initial=0.0, where=finite))
        rest = np.flatnonzero(~finite)
        wide, size = np.abs(gap[rest].astype(np.float64)), np.abs(one[rest].astype(np.float64))
        huge = np.divide(wide, size, out=np.zeros_like(wide), where=size > 0)
        return max(largest, float(huge.max(initial=0.0)))

    def _beyond(self, one: Any, two: Any, largest: float, relative: float) -> int:
        """Return how many elements are beyond the rule. What is used up: `gap` and `work`."""
        rtol, atol = self.rule.rtol, self.rule.atol
        if largest <= atol * (1 - MARGIN) or relative <= rtol * (1 - MARGIN):
            return 0
        gap, work = self.gap[: one.size], self.work[: one.size]
        if rtol and not self.many:  # what is beyond the rule is beyond either part of it
            np.abs(work, out=work)
            flagged = np.greater(
                work, self.kind.type(rtol * (1 - MARGIN)), out=self.mask[: one.size]
            )
            if int(np.count_nonzero(flagged)) * 16 < one.size:
                return self._surely(one, two, flagged)
        np.abs(gap, out=gap)
        limit = np.abs(one, out=work)
        np.multiply(limit, self.kind.type(rtol * (1 - MARGIN)), out=limit)
        np.add(limit, self.kind.type(atol * (1 - MARGIN)), out=limit)
        flagged = np.greater(gap, limit, out=self.mask[: one.size])
        count = int(np.count_nonzero(flagged))
        self.many = count * 16 >= one.size
        np.multiply(limit, self.kind.type(1 + 3 * MARGIN), out=limit)
        if not count or int(np.count_nonzero(gap > limit)) == count:
            return count
        return self._surely(one, two, flagged)

    def _surely(self, one: Any, two: Any, flagged: Any) -> int:
        """Return how many of the elements that may be beyond the rule are, in double precision."""
        at = np.flatnonzero(flagged)
        wide, other = one[at].astype(np.float64), two[at].astype(np.float64)
        allowed = self.rule.atol + self.rule.rtol * np.abs(wide)
        return int(np.count_nonzero(np.abs(wide - other) > allowed))

    def _carefully(self, a: np.ndarray, b: np.ndarray, count: int) -> None:
        """Add a chunk in double precision, with every rule for what is not finite."""
        if a.dtype.kind in "iu" and self.dtype not in NARROW:
            high, low = np.maximum(a, b), np.minimum(a, b)
            unsigned = np.dtype(f"u{a.dtype.itemsize}")
            gap = np.subtract(high.view(unsigned), low.view(unsigned)).astype(np.float64)
            self._settle(gap, np.abs(a.astype(np.float64)))
        elif a.dtype.kind in "fc" or self.dtype in NARROW:
            a, b = plain(a, self.dtype), plain(b, self.dtype)
            wide = np.complex128 if a.dtype.kind == "c" else np.float64
            one, two = a.astype(wide), b.astype(wide)
            gap = np.abs(one - two)
            gap = np.where((one == two) | (np.isnan(one) & np.isnan(two)), 0.0, gap)
            self._settle(np.where(np.isnan(gap), np.inf, gap), np.abs(one))
        elif not self.zero:  # a type that has no distances: its bits decide
            self.sums.beyond += count

    def _settle(self, gap: np.ndarray, size: np.ndarray) -> None:
        finite = np.isfinite(size)
        if not self.zero:
            allowed = np.where(finite, self.rule.atol + self.rule.rtol * size, 0.0)
            self.sums.beyond += int(np.count_nonzero(~(gap <= allowed)))
        relative = np.divide(gap, size, out=np.zeros_like(gap), where=(size > 0) & finite)
        norm, squares = float((size * size).sum(where=finite)), float((gap * gap).sum())
        self._note(norm, squares, float(gap.max(initial=0.0)), float(relative.max(initial=0.0)))

    def _ulps(self, a: np.ndarray, b: np.ndarray, count: int, sample: Sample) -> None:
        """Add the distances in units of the last place: all where few differ, else a sample."""
        ulps = self.sums.ulps
        if count > FEW:
            sample.add_to(ulps, self.dtype)
            return
        ulps.counts[0] += a.size - count
        if count:
            at = np.flatnonzero(a.view(f"u{a.itemsize}") != b.view(f"u{b.itemsize}"))
            ulps.add(a[at], b[at], self.dtype)
