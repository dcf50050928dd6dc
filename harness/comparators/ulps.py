"""Distances in units of the last place: a histogram by powers of two, and its percentiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from harness.comparators.widening import EIGHT, plain

FINE = 16  # buckets per power of two
BELOW = 1022 * FINE
SAMPLE = 1 << 10  # elements of a part that stand for all of it where many differ
TOGETHER = 32  # samples whose distances are taken in one go: a call costs more than its elements
FLOATS = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


class Ulps:
    """Counts of elements by distance; `sampled` where not all of them were looked at."""

    def __init__(self) -> None:
        self.counts = np.zeros(66 * FINE, np.int64)
        self.max = 0
        self.sampled = False
        self._waiting: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}

    def merge(self, other: Ulps) -> None:
        """Add the counts of another part."""
        self.counts += other.counts
        self.max = max(self.max, other.max)
        self.sampled |= other.sampled

    def add(self, a: np.ndarray, b: np.ndarray, dtype: str, times: int = 1) -> None:
        """Add the distances of floats of the type itself, each counted several times."""
        width = FLOATS.get(dtype, 1)
        one, two = _ordered(a, width), _ordered(b, width)
        apart = np.maximum(one, two).view(np.uint64) - np.minimum(one, two).view(np.uint64)
        apart = apart[~(np.isnan(plain(a, dtype)) | np.isnan(plain(b, dtype)))]
        self.max = max(self.max, int(apart.max(initial=0)))
        # the exponent of a double and the four bits behind it, one power of two below 1 at 0
        bucket = np.maximum((apart.astype(np.float64).view(np.int64) >> 48) - BELOW, 0)
        self.counts += times * np.bincount(bucket, minlength=self.counts.size)

    def later(self, a: np.ndarray, b: np.ndarray, dtype: str, times: int) -> None:
        """Add distances, as `add` does, when enough of them wait or `settle` is called."""
        waiting = self._waiting.setdefault(times, [])
        waiting.append((a, b))
        if len(waiting) == TOGETHER:
            self._add_all(self._waiting.pop(times), dtype, times)

    def settle(self, dtype: str) -> None:
        """Add all that waits."""
        while self._waiting:
            times, waiting = self._waiting.popitem()
            self._add_all(waiting, dtype, times)

    def _add_all(self, parts: list[tuple[np.ndarray, np.ndarray]], dtype: str, times: int) -> None:
        one, two = (np.concatenate(side) for side in zip(*parts, strict=True))
        self.add(one, two, dtype, times)

    def percentiles(self, *shares: float) -> tuple[float | None, ...]:
        """Return the distances that shares of the elements do not exceed (6 % steps)."""
        sums = np.cumsum(self.counts)
        total = int(sums[-1])
        if not total:
            return (None,) * len(shares)
        found = np.searchsorted(sums, [share * total for share in shares]).tolist()
        return tuple(_lower_end(bucket) for bucket in found)

    def histogram(self) -> tuple[int, ...]:
        """Return counts by power of two, equal elements at [0]."""
        counts: list[int] = self.counts.reshape(-1, FINE).sum(axis=1).tolist()
        while counts and not counts[-1]:
            counts.pop()
        return tuple(counts)


def _lower_end(bucket: int) -> float:
    power, part = divmod(bucket, FINE)
    return 0.0 if not power else math.ldexp(0.5 + part / (2 * FINE), power)


class Sample:
    """Every n-th element of both sides of one part, taken while they are in the cache."""

    def __init__(self, dtype: np.dtype, size: int) -> None:
        self.size, self.step = size, max(1, size // SAMPLE)
        self.sides = np.empty((2, -(-size // self.step)), dtype)
        self.taken = 0

    def take(self, a: np.ndarray, b: np.ndarray, at: int) -> None:
        """Take the elements of a chunk that begins at element `at` of the part."""
        one, two = a[-at % self.step :: self.step], b[-at % self.step :: self.step]
        end = self.taken + one.size
        self.sides[0, self.taken : end], self.sides[1, self.taken : end] = one, two
        self.taken = end

    def add_to(self, ulps: Ulps, dtype: str) -> None:
        """Add the distances, each counted for the elements it stands for."""
        ulps.sampled |= self.step > 1
        one, two = self.sides
        whole = self.size // self.step
        ulps.later(one[:whole], two[:whole], dtype, self.step)
        if whole < one.size:
            ulps.later(one[whole:], two[whole:], dtype, self.size % self.step)


def counted(dtype: str) -> bool:
    """Return whether a type has units of the last place."""
    return dtype in FLOATS or dtype in EIGHT


def _ordered(chunk: np.ndarray, width: int) -> Any:
    """Return the bits of floats as integers in the order of the numbers, both zeros at 0."""
    bits = chunk.view(f"<i{width}").astype(np.int64)
    return np.where(bits < 0, -(1 << (8 * width - 1)) - bits, bits)
