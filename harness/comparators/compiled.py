"""The pass over a chunk as one compiled loop, all in double precision: `repro-harness[fast]`.

numba compiles the loops for the processor at hand when they are first used and keeps them beside
this file, or in the user's cache. Each loop is over as much as the first-level cache holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from llvmlite.binding import get_host_cpu_features
from numba import njit, types
from numba.extending import intrinsic

BLOCK = 1 << 11  # elements: of both sides as single precision 16 KiB
# Sums may be taken in any order. Nothing else is loosened: an element stands on the same side of
# its limit as in numpy. Maxima are of bits, which sort as the numbers that are not negative do.
LOOSE = {"reassoc", "nsz"}
SIXTEEN = np.uint32(16)
# Half precision is widened by an instruction; where the processor lacks it, numpy does better.
TYPES = {"float32", "float64", "bfloat16"}
if get_host_cpu_features().get("f16c", True):
    TYPES.add("float16")


class Found(NamedTuple):
    """What a chunk adds up to. Where `norm` or `squares` is not finite, nothing else counts."""

    differing: float
    beyond: float
    norm: float
    squares: float
    max_abs: float
    max_rel: float


def measure(a: np.ndarray, b: np.ndarray, dtype: str, rtol: float, atol: float) -> Found:
    """Return what two aligned chunks of one of `TYPES` add up to under a rule."""
    if dtype in {"bfloat16", "float16"}:
        sides = a.view(np.uint16), b.view(np.uint16)
        total = _halves(*sides, dtype == "float16", rtol, atol)
    else:
        words = np.dtype(f"u{a.itemsize}")
        total = _floats(a, b, a.view(words), b.view(words), rtol, atol)
    return Found(*total.tolist())


def _loop(function: Any) -> Any:
    return njit(nogil=True, cache=True, error_model="numpy", fastmath=LOOSE)(function)


@_loop
def _block(one: Any, two: Any, a: Any, b: Any, rtol: float, atol: float, total: Any) -> None:
    """Add floats, whose bits are `a` and `b`, to all that is looked for."""
    norm = squares = 0.0
    largest = relative = np.int64(0)
    differing: Any = 0
    beyond: Any = 0
    for n in range(one.size):
        value = np.float64(one[n])
        size = abs(value)
        norm += value * value
        gap = abs(value - np.float64(two[n]))
        squares += gap * gap
        beyond += gap > atol + rtol * size
        differing += a[n] != b[n]
        largest = max(largest, np.float64(gap).view(np.int64))
        share = gap / size if size > 0 else 0.0
        relative = max(relative, np.float64(share).view(np.int64))
    total[0] += differing
    total[1] += beyond
    total[2] += norm
    total[3] += squares
    total[4] = max(total[4], np.int64(largest).view(np.float64))
    total[5] = max(total[5], np.int64(relative).view(np.float64))


@_loop
def _floats(one: Any, two: Any, a: Any, b: Any, rtol: float, atol: float) -> Any:
    total = np.zeros(6)
    for at in range(0, one.size, BLOCK):
        end = min(at + BLOCK, one.size)
        _block(one[at:end], two[at:end], a[at:end], b[at:end], rtol, atol, total)
    return total


@_loop
def _halves(a: Any, b: Any, ieee: bool, rtol: float, atol: float) -> Any:
    total = np.zeros(6)
    one, two = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    left, right = one.view(np.uint32), two.view(np.uint32)
    for at in range(0, a.size, BLOCK):
        size = min(BLOCK, a.size - at)
        if ieee:
            _half(a[at : at + size], one)
            _half(b[at : at + size], two)
        else:
            _brain(a[at : at + size], left)
            _brain(b[at : at + size], right)
        _block(one[:size], two[:size], left, right, rtol, atol, total)
    return total


@_loop
def _brain(bits: Any, out: Any) -> None:
    for n in range(bits.size):
        out[n] = np.uint32(bits[n]) << SIXTEEN


@_loop
def _half(bits: Any, out: Any) -> None:
    for n in range(bits.size):
        out[n] = _widened(bits[n])


def _widening(typing: Any, bits: Any) -> Any:
    """Return the float of a half's bits, by the processor's own instruction."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.fpext(builder.bitcast(given[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), code


_widened: Any = intrinsic(_widening)
