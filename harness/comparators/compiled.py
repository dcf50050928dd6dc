"""The pass over a chunk as one compiled loop, all in double precision: `repro-harness[fast]`.

numba compiles the loops for the processor at hand when they are first used and keeps them beside
this file, or in the user's cache. Each loop is over as much as the first-level cache holds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

BLOCK = 1 << 11  # elements: of both sides as single precision 16 KiB
# Sums may be taken in any order. Nothing else is loosened: an element stands on the same side of
# its limit as in numpy. Maxima are of bits, which sort as the numbers that are not negative do.
LOOSE = {"reassoc", "nsz"}
# Of the bits of a half: sign, all but it, the least with an exponent, the least that is not
# finite. Each step is held to 32 bits by name, or numba would take 64 and half as many at once.
SIGN, REST, NORMAL, TOP = (np.int32(n) for n in (0x8000, 0x7FFF, 0x0400, 0x7C00))
WIDER, SIXTEEN = np.int32(13), np.int32(16)  # how far mantissa and sign move
REBIAS = np.int32(112 << 23)  # the exponents' biases are 15 and 127
LEAST = np.float32(2.0**-24)


class Found(NamedTuple):
    """What a chunk adds up to. Where `norm` or `squares` is not finite, nothing else counts."""

    differing: float
    beyond: float
    norm: float
    squares: float
    max_abs: float
    max_rel: float


def measure(a: np.ndarray, b: np.ndarray, dtype: str, rtol: float, atol: float) -> Found:
    """Return what two aligned chunks of a floating type add up to under a rule."""
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
def _block(one: Any, two: Any, a: Any, b: Any, rtol: float, atol: float, total: Any) -> Any:
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
        if not ieee:
            _brain(a[at : at + size], left)
            _brain(b[at : at + size], right)
        elif _half(a[at : at + size], left) + _half(b[at : at + size], right):
            total[2] = np.inf
        _block(one[:size], two[:size], left, right, rtol, atol, total)
    return total


@_loop
def _brain(bits: Any, out: Any) -> None:
    for n in range(bits.size):
        out[n] = np.uint32(bits[n]) << SIXTEEN


@_loop
def _half(bits: Any, out: Any) -> Any:
    """Turn halves into the bits of floats; return how many are not finite, and come out wrong."""
    odd = np.int32(0)
    for n in range(bits.size):
        half = np.int32(bits[n])
        size = np.int32(half & REST)
        odd = np.int32(odd + np.int32(size >= TOP))
        word = np.int32(np.int32(size << WIDER) + REBIAS)
        # below 2**-14 a half has no leading one, which single precision has
        faint = np.float32(np.float32(size) * LEAST).view(np.int32)
        sign = np.int32(np.int32(half & SIGN) << SIXTEEN)
        out[n] = np.uint32(np.int32((word if size >= NORMAL else faint) | sign))
    return odd
