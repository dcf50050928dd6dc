"""Numbers as they lie in a file, turned into the single or double precision that is computed in.

Half precisions are turned two at a time, as the halves of one 32-bit word: first all that stand at
even places, then the odd ones. Sums and maxima do not mind; whoever needs an index takes the bits.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np

# name -> exponent bits, mantissa bits, bias, infinities, sign's own NaN (the fnuz types)
EIGHT = {
    "float8_e4m3fn": (4, 3, 7, False, False),
    "float8_e5m2": (5, 2, 15, True, False),
    "float8_e4m3fnuz": (4, 3, 8, False, True),
    "float8_e5m2fnuz": (5, 2, 16, False, True),
}
NARROW = {"float32", "float16", "bfloat16", *EIGHT, "int8", "uint8", "int16", "uint16", "bool"}
UPPER = np.uint32(0xFFFF0000)
# sign, and a half's other bits three places lower: where single precision has them
HALF = np.array(0x8FFFE000, np.uint32).view(np.int32)[()]
REBIAS = np.float32(2.0**112)  # the exponents' biases are 15 and 127
DOUBTFUL = 2.0**30  # a sum of squares from which on a half may have been infinite or no number


def stored(data: Any, dtype: str) -> Any:
    """Return a buffer as the elements that lie in it; types numpy lacks as their bits."""
    if dtype == "bfloat16":
        return np.frombuffer(data, "<u2")
    try:
        return np.frombuffer(data, np.dtype(dtype))
    except TypeError:
        return np.frombuffer(data, np.uint8)


def single(chunk: np.ndarray, dtype: str, out: np.ndarray) -> Any:
    """Return a chunk of a narrow type as float32, which holds all its values, in `out`.

    The infinities and NaN of float16 come out as 65536 and more: see `DOUBTFUL`.
    """
    out = out[: chunk.size]
    if dtype in EIGHT:
        return np.take(decoded(dtype), chunk.view(np.uint8), out=out, mode="clip")
    if dtype in {"bfloat16", "float16"} and not chunk.size % 2:
        (_brain if dtype == "bfloat16" else _half)(chunk, out)
    elif dtype == "bfloat16":
        bits = out.view(np.uint32)
        np.copyto(bits, chunk)
        np.left_shift(bits, 16, out=bits)
    else:
        np.copyto(out, chunk)
    return out


def _brain(chunk: np.ndarray, out: np.ndarray) -> None:
    pairs, bits, half = chunk.view(np.uint32), out.view(np.uint32), chunk.size // 2
    np.left_shift(pairs, 16, out=bits[:half])
    np.bitwise_and(pairs, UPPER, out=bits[half:])


def _half(chunk: np.ndarray, out: np.ndarray) -> None:
    pairs, bits, half = chunk.view(np.int32), out.view(np.int32), chunk.size // 2
    np.left_shift(pairs, 16, out=bits[:half])
    np.right_shift(bits[:half], 3, out=bits[:half])
    np.right_shift(pairs, 3, out=bits[half:])
    np.bitwise_and(bits, HALF, out=bits)
    np.multiply(out, REBIAS, out=out)


def plain(chunk: np.ndarray, dtype: str) -> Any:
    """Return a chunk in its own order as numbers that numpy knows."""
    if dtype == "bfloat16":
        return (chunk.astype(np.uint32) << 16).view(np.float32)
    return decoded(dtype)[chunk.view(np.uint8)] if dtype in EIGHT else chunk


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
